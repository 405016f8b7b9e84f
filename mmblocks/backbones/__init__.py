"""Backbones: image to feature maps. Importing this package registers them."""

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.ghostnet import GhostNet
from mmblocks.backbones.resnet import ResNet, ResNetV1d

__all__ = ['BaseBackbone', 'GhostNet', 'Group', 'ResNet', 'ResNetV1d']
