"""Layers: the blocks that backbones are made of, one copy each."""

from mmblocks.layers.akconv import AKConv
from mmblocks.layers.cbam import CBAM
from mmblocks.layers.channel_shuffle import ChannelShuffle, channel_shuffle
from mmblocks.layers.csp import C3, C2f, DarknetBottleneck
from mmblocks.layers.deform_conv import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
)
from mmblocks.layers.dense_block import DenseBlock, DenseLayer, DenseTransition
from mmblocks.layers.depthwise_separable import DepthwiseSeparableConv
from mmblocks.layers.eca import ECA
from mmblocks.layers.edge_residual import EdgeResidual
from mmblocks.layers.fire import FireModule
from mmblocks.layers.focus import Focus
from mmblocks.layers.ghost import GhostBottleneck, GhostModule
from mmblocks.layers.inception import Inception, InceptionAux
from mmblocks.layers.inception_dwconv import InceptionDWConv2d
from mmblocks.layers.inverted_residual import InvertedResidual
from mmblocks.layers.meta_next import MetaNeXtBlock
from mmblocks.layers.preact_residual import PreActBasicBlock, PreActBottleneck
from mmblocks.layers.residual import BasicBlock, Bottleneck
from mmblocks.layers.same_padding import Conv2dSamePadding
from mmblocks.layers.se_layer import SELayer, SEModule, SqueezeExcite
from mmblocks.layers.senet_blocks import (
    SENet154Bottleneck,
    SENetBasicBlock,
    SENetBottleneck,
)
from mmblocks.layers.shuffle_units import ShuffleUnit, ShuffleUnitV2
from mmblocks.layers.spp import SPPBottleneck
from mmblocks.layers.universal_inverted_residual import UniversalInvertedResidual
from mmblocks.utils.make_divisible import make_divisible

__all__ = [
    'AKConv',
    'BasicBlock',
    'Bottleneck',
    'C2f',
    'C3',
    'CBAM',
    'ChannelShuffle',
    'Conv2dSamePadding',
    'DarknetBottleneck',
    'DeformConv2d',
    'DeformConv2dPack',
    'DenseBlock',
    'DenseLayer',
    'DenseTransition',
    'DepthwiseSeparableConv',
    'ECA',
    'EdgeResidual',
    'FireModule',
    'Focus',
    'GhostBottleneck',
    'GhostModule',
    'Inception',
    'InceptionAux',
    'InceptionDWConv2d',
    'InvertedResidual',
    'MetaNeXtBlock',
    'ModulatedDeformConv2d',
    'ModulatedDeformConv2dPack',
    'PreActBasicBlock',
    'PreActBottleneck',
    'SELayer',
    'SEModule',
    'SENet154Bottleneck',
    'SENetBasicBlock',
    'SENetBottleneck',
    'SPPBottleneck',
    'ShuffleUnit',
    'ShuffleUnitV2',
    'SqueezeExcite',
    'UniversalInvertedResidual',
    'channel_shuffle',
    'make_divisible',
]
