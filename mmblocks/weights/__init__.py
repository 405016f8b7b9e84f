"""Weights: loading them safely and under any of the names that other libraries use."""

from mmblocks.weights.renaming import Layout, accept_layouts, rename_keys
from mmblocks.weights.safe_globals import allow_mmengine_checkpoints

__all__ = ['Layout', 'accept_layouts', 'allow_mmengine_checkpoints', 'rename_keys']
