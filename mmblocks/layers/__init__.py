"""Layers: the blocks that backbones are made of, one copy each."""

from mmblocks.layers.channel_shuffle import ChannelShuffle, channel_shuffle
from mmblocks.layers.dense_block import DenseBlock, DenseLayer, DenseTransition
from mmblocks.layers.depthwise_separable import DepthwiseSeparableConv
from mmblocks.layers.fire import FireModule
from mmblocks.layers.ghost import GhostBottleneck, GhostModule
from mmblocks.layers.inception import Inception, InceptionAux
from mmblocks.layers.inverted_residual import InvertedResidual
from mmblocks.layers.make_divisible import make_divisible
from mmblocks.layers.residual import BasicBlock, Bottleneck, ResidualBlock
from mmblocks.layers.se_layer import SELayer, SqueezeExcite
from mmblocks.layers.shuffle_units import ShuffleUnit, ShuffleUnitV2

__all__ = [
    'BasicBlock',
    'Bottleneck',
    'ChannelShuffle',
    'DenseBlock',
    'DenseLayer',
    'DenseTransition',
    'DepthwiseSeparableConv',
    'FireModule',
    'GhostBottleneck',
    'GhostModule',
    'Inception',
    'InceptionAux',
    'InvertedResidual',
    'ResidualBlock',
    'SELayer',
    'ShuffleUnit',
    'ShuffleUnitV2',
    'SqueezeExcite',
    'channel_shuffle',
    'make_divisible',
]
