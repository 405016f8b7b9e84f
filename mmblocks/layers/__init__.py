"""Layers: the blocks that backbones are made of, one copy each."""

from mmblocks.layers.ghost import GhostBottleneck, GhostModule
from mmblocks.layers.make_divisible import make_divisible
from mmblocks.layers.residual import BasicBlock, Bottleneck, ResidualBlock
from mmblocks.layers.se_layer import SqueezeExcite

__all__ = [
    'BasicBlock',
    'Bottleneck',
    'GhostBottleneck',
    'GhostModule',
    'ResidualBlock',
    'SqueezeExcite',
    'make_divisible',
]
