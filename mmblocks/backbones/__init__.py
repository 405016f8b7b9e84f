"""Backbones: image to feature maps. Importing this package registers them."""

from mmblocks.backbones.alexnet import AlexNet
from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.csp_darknet import CSPDarknet
from mmblocks.backbones.densenet import DenseNet
from mmblocks.backbones.efficientnet import EfficientNet
from mmblocks.backbones.ghostnet import GhostNet
from mmblocks.backbones.googlenet import GoogLeNet
from mmblocks.backbones.inception_next import InceptionNeXt
from mmblocks.backbones.lenet import LeNet5
from mmblocks.backbones.mobilenet_v1 import MobileNetV1
from mmblocks.backbones.mobilenet_v2 import MobileNetV2
from mmblocks.backbones.mobilenet_v3 import MobileNetV3
from mmblocks.backbones.mobilenet_v4 import MobileNetV4
from mmblocks.backbones.nin import NIN
from mmblocks.backbones.preact_seresnet import PreActSEResNet
from mmblocks.backbones.resnet import ResNet
from mmblocks.backbones.resnet_variants import ResNetV1c, ResNetV1d, ResNeXt, SEResNet
from mmblocks.backbones.senet import SENet
from mmblocks.backbones.shufflenet_v1 import ShuffleNetV1
from mmblocks.backbones.shufflenet_v2 import ShuffleNetV2
from mmblocks.backbones.squeezenet import SqueezeNet
from mmblocks.backbones.vgg import VGG

__all__ = [
    'AlexNet',
    'BaseBackbone',
    'CSPDarknet',
    'DenseNet',
    'EfficientNet',
    'GhostNet',
    'GoogLeNet',
    'Group',
    'InceptionNeXt',
    'LeNet5',
    'MobileNetV1',
    'MobileNetV2',
    'MobileNetV3',
    'MobileNetV4',
    'NIN',
    'PreActSEResNet',
    'ResNeXt',
    'ResNet',
    'ResNetV1c',
    'ResNetV1d',
    'SENet',
    'SEResNet',
    'ShuffleNetV1',
    'ShuffleNetV2',
    'SqueezeNet',
    'VGG',
]
