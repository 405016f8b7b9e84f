"""Weights: loading them safely and under any of the names that other libraries use."""

from mmblocks.weights.renaming import Layout, accept_layouts, rename_keys

__all__ = ['Layout', 'accept_layouts', 'rename_keys']
