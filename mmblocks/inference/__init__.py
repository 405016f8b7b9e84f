"""Inference: faster forms of nets whose weights do not change any more."""

from mmblocks.inference.to_inference import to_inference

__all__ = ['to_inference']
