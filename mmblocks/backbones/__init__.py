"""Backbones: image to feature maps. Importing this package registers them."""

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.ghostnet import GhostNet
from mmblocks.backbones.mobilenet_v1 import MobileNetV1
from mmblocks.backbones.mobilenet_v2 import MobileNetV2
from mmblocks.backbones.mobilenet_v3 import MobileNetV3
from mmblocks.backbones.resnet import ResNet
from mmblocks.backbones.resnet_variants import ResNetV1c, ResNetV1d, ResNeXt, SEResNet
from mmblocks.backbones.shufflenet_v1 import ShuffleNetV1
from mmblocks.backbones.shufflenet_v2 import ShuffleNetV2

__all__ = [
    'BaseBackbone',
    'GhostNet',
    'Group',
    'MobileNetV1',
    'MobileNetV2',
    'MobileNetV3',
    'ResNeXt',
    'ResNet',
    'ResNetV1c',
    'ResNetV1d',
    'SEResNet',
    'ShuffleNetV1',
    'ShuffleNetV2',
]
