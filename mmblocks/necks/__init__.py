"""Necks: backbone maps to what a head takes. Importing this package registers them."""

from mmblocks.necks.fpn import FPN
from mmblocks.necks.top_blocks import LastLevelMaxPool, LastLevelP6P7, TopBlock

__all__ = ['FPN', 'LastLevelMaxPool', 'LastLevelP6P7', 'TopBlock']
