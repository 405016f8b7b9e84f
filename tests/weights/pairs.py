"""One line per net and peer: the smallest live peer whose weights the net must load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn


class Pair(NamedTuple):
    """A net of ours and the same net of another library.

    Attributes:
        cfg: Ours.
        library: Whose the other is.
        name: How the library builds it: a name, or a class of OpenMMLab.
        options: The builder's arguments.
        taps: Names of its modules whose outputs are our maps; empty where it gives them itself.
    """

    cfg: dict[str, Any]
    library: str
    name: str
    options: dict[str, Any] = {}
    taps: Sequence[str] = ()

    def __str__(self) -> str:
        """Names the test case."""
        return f'{self.cfg["type"]}-{self.library}'


LAYERS = tuple(f'layer{i}' for i in (1, 2, 3, 4))
FOUR = dict(out_indices=(0, 1, 2, 3))


def openmmlab(cfg: dict[str, Any], *libraries: str, **options: Any) -> list[Pair]:
    """Returns the pairs of a net whose arguments are OpenMMLab's."""
    theirs = {key: value for key, value in cfg.items() if key != 'type'} | options
    return [Pair(cfg, library, cfg['type'], theirs) for library in libraries]


def blocks(*numbers: int) -> tuple[str, ...]:
    """Returns the names of some of timm's stages."""
    return tuple(f'blocks.{i}' for i in numbers)


def features(*numbers: int) -> tuple[str, ...]:
    """Returns the names of some of torchvision's layers."""
    return tuple(f'features.{i}' for i in numbers)


RESNET = dict(type='ResNet', depth=18)
RESNEXT = dict(type='ResNeXt', depth=50, groups=32, base_width=4)
V1D = dict(type='ResNetV1d', depth=18)
V2 = dict(type='MobileNetV2', widen_factor=0.5)
V3 = dict(type='MobileNetV3', arch='small', out_indices=(0, 3, 8, 11))
V3_SMALL = dict(type='MobileNetV3', arch='small_050', out_indices=(1, 3, 8, 11))
SHUFFLE_V2 = dict(type='ShuffleNetV2', widen_factor=0.5, out_indices=(0, 1, 2, 3))
DENSE = dict(type='DenseNet', arch='121', out_indices=(0, 1, 2, 3))
VGG = dict(type='VGG', depth=11, norm_cfg=dict(type='BN'), out_indices=(1, 2, 3, 4))
POOLS = (7, 14, 21, 28)
ALEX = dict(type='AlexNet', out_indices=(0, 1, 2, 3))

B0 = dict(type='EfficientNet', arch='b0')
# Without TensorFlow's padding and eps.
B0_EVEN = B0 | dict(out_indices=(2, 3, 4, 5), conv_cfg=None, norm_cfg=dict(type='BN'))

PAIRS = (
    *openmmlab(RESNET, 'mmdet', 'mmpretrain', **FOUR),
    Pair(RESNET, 'torchvision', 'resnet18', taps=LAYERS),
    Pair(RESNET, 'timm', 'resnet18', taps=LAYERS),
    *openmmlab(dict(type='ResNetV1c', depth=18), 'mmpretrain', **FOUR),
    Pair(dict(type='ResNetV1c', depth=50), 'timm', 'resnet50c', taps=LAYERS),
    *openmmlab(V1D, 'mmdet', 'mmpretrain', **FOUR),
    Pair(V1D, 'timm', 'resnet18d', taps=LAYERS),
    *openmmlab(RESNEXT, 'mmdet', **FOUR),
    Pair(RESNEXT, 'mmpretrain', 'ResNeXt', dict(depth=50, groups=32, width_per_group=4) | FOUR),
    Pair(RESNEXT, 'torchvision', 'resnext50_32x4d', taps=LAYERS),
    Pair(RESNEXT, 'timm', 'resnext50_32x4d', taps=LAYERS),
    *openmmlab(dict(type='SEResNet', depth=50), 'mmpretrain', **FOUR),
    Pair(dict(type='SEResNet', depth=18), 'timm', 'seresnet18', taps=LAYERS),
    Pair(dict(type='MobileNetV1'), 'timm', 'mobilenetv1_100', taps=blocks(1, 2, 3, 4)),
    *openmmlab(V2, 'mmdet', **dict(out_indices=(1, 2, 4, 7))),
    *openmmlab(V2, 'mmpretrain', **dict(out_indices=(1, 2, 4, 7))),
    Pair(V2, 'torchvision', 'mobilenet_v2', dict(width_mult=0.5), features(3, 6, 13, 18)),
    Pair(V2, 'timm', 'mobilenetv2_050', taps=(*blocks(1, 2, 4), 'bn2')),
    *openmmlab(V3_SMALL, 'mmpretrain'),
    Pair(V3, 'torchvision', 'mobilenet_v3_small', taps=features(0, 3, 8, 11)),
    # timm trains it with another eps than the paper's authors.
    Pair(
        V3_SMALL | dict(norm_cfg=dict(type='BN')),
        'timm',
        'mobilenetv3_small_050',
        taps=blocks(0, 1, 3, 4),
    ),
    Pair(dict(type='MobileNetV4'), 'timm', 'mobilenetv4_conv_small', taps=blocks(0, 1, 2, 4)),
    *openmmlab(dict(type='ShuffleNetV1', groups=3, out_indices=(0, 1, 2)), 'mmpretrain'),
    *openmmlab(SHUFFLE_V2, 'mmpretrain'),
    Pair(
        SHUFFLE_V2,
        'torchvision',
        'shufflenet_v2_x0_5',
        taps=('stage2', 'stage3', 'stage4', 'conv5'),
    ),
    Pair(dict(type='GhostNet', widen_factor=0.5), 'timm', 'ghostnet_050', taps=blocks(2, 4, 6, 8)),
    Pair(
        DENSE | dict(out_indices=(0, 1, 2)),
        'torchvision',
        'densenet121',
        taps=tuple(f'features.denseblock{i}' for i in (1, 2, 3)),
    ),
    Pair(
        DENSE | dict(out_indices=(0, 1, 2)),
        'timm',
        'densenet121',
        taps=tuple(f'features.denseblock{i}' for i in (1, 2, 3)),
    ),
    Pair(dict(type='DenseNet', arch='121'), 'mmpretrain', 'DenseNet', dict(arch='121')),
    Pair(
        dict(type='GoogLeNet'),
        'torchvision',
        'googlenet',
        dict(init_weights=False),
        ('conv3', 'inception3b', 'inception4e', 'inception5b'),
    ),
    Pair(dict(type='LeNet5'), 'mmpretrain', 'LeNet5', dict(num_classes=10), ('features',)),
    Pair(ALEX, 'torchvision', 'alexnet', taps=features(1, 4, 11, 12)),
    Pair(ALEX, 'mmpretrain', 'AlexNet', dict(num_classes=-1), features(1, 4, 11, 12)),
    Pair(VGG, 'torchvision', 'vgg11_bn', taps=features(*POOLS)),
    Pair(VGG, 'timm', 'vgg11_bn', taps=features(*POOLS)),
    *openmmlab(VGG, 'mmpretrain', **dict(num_classes=-1)),
    Pair(
        dict(type='SqueezeNet', arch='1_1'),
        'torchvision',
        'squeezenet1_1',
        taps=features(4, 7, 12),
    ),
    Pair(dict(type='SENet', arch='18'), 'timm', 'legacy_seresnet18', taps=LAYERS),
    Pair(
        dict(type='PreActSEResNet', depth=18, se_ratio=None),
        'timm',
        'resnetv2_18',
        taps=('stages.0', 'stages.1', 'stages.2', 'norm'),
    ),
    *openmmlab(B0 | dict(out_indices=(2, 3, 4, 5)), 'mmdet', 'mmpretrain'),
    Pair(B0_EVEN, 'torchvision', 'efficientnet_b0', taps=features(2, 3, 5, 7)),
    Pair(B0_EVEN, 'timm', 'efficientnet_b0', taps=blocks(1, 2, 4, 6)),
    Pair(
        dict(type='InceptionNeXt', arch='atto'),
        'timm',
        'inception_next_atto',
        taps=tuple(f'stages.{i}' for i in range(4)),
    ),
    *openmmlab(
        dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.25, out_indices=(2, 3, 4)),
        'mmdet',
    ),
)


def without_wide_layers(model: nn.Module) -> nn.Module:
    """Takes off the classifiers that would make files of half a gigabyte."""
    for name in ('classifier', 'pre_logits', 'head'):
        if any(p.numel() > 3 * 10**6 for p in getattr(model, name, nn.Identity()).parameters()):
            setattr(model, name, nn.Identity())
    return model
