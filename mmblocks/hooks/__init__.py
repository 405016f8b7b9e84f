"""Hooks: what mmblocks does during training. Importing this package registers them."""

from mmblocks.hooks.unfreeze import UnfreezeHook

__all__ = ['UnfreezeHook']
