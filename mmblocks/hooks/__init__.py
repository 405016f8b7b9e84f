"""Hooks: what mmblocks does during training. Importing this package registers them."""

from mmblocks.hooks.preprocessing import CheckPreprocessingHook
from mmblocks.hooks.unfreeze import UnfreezeHook

__all__ = ['CheckPreprocessingHook', 'UnfreezeHook']
