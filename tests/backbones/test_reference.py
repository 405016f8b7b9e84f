"""Parameter and MAC counts against the published ones."""

import ast
import csv
import functools
import itertools
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

with open(Path(__file__).parents[1] / 'data' / 'arch_reference.csv', newline='') as file:
    REFERENCE = {row['variant']: row for row in csv.DictReader(file)}


class Published(NamedTuple):
    """A net of ours that has a published count.

    Attributes:
        variant: Its row in the reference table.
        cfg: Our config.
        head: Widths of the linear layers, first input to last output, that the counted net has
            behind the backbone's last map; empty for a backbone alone or with its own classifier.
        in_channels: Channels of its images.
    """

    variant: str
    cfg: dict
    head: tuple[int, ...] = ()
    in_channels: int = 3

    def __str__(self) -> str:
        """Names the test case."""
        return self.variant


PUBLISHED = (
    *(
        Published(
            f'mmdet ResNet({depth}) [backbone only]',
            dict(type='ResNet', depth=depth),
        )
        for depth in (18, 34, 50, 101, 152)
    ),
    *(
        Published(f'resnet{depth}', dict(type='ResNet', depth=depth), (width, 1000))
        for depth, width in ((18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048))
    ),
    Published('mmdet ResNetV1d(50) [backbone only]', dict(type='ResNetV1d', depth=50)),
    Published('timm resnet50c', dict(type='ResNetV1c', depth=50), (2048, 1000)),
    Published('timm resnet50d', dict(type='ResNetV1d', depth=50), (2048, 1000)),
    Published('timm resnet101d', dict(type='ResNetV1d', depth=101), (2048, 1000)),
    *(
        Published(
            f'mmpretrain SEResNet({depth}) [backbone only]', dict(type='SEResNet', depth=depth)
        )
        for depth in (50, 101, 152)
    ),
    *(
        Published(f'timm seresnet{depth}', dict(type='SEResNet', depth=depth), (width, 1000))
        for depth, width in ((18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048))
    ),
    *(
        Published(
            f'timm ghostnet_{round(width * 100):03d}',
            dict(type='GhostNet', widen_factor=width, out_indices=9),
            (channels, 1280, 1000),
        )
        for width, channels in ((0.5, 480), (1.0, 960), (1.3, 1248))
    ),
    *(
        Published(f'timm mobilenetv1_{name}', dict(type='MobileNetV1', **options), (width, 1000))
        for name, options, width in (
            ('100', {}, 1024),
            ('100h', dict(head_conv=True), 1024),
            ('125', dict(widen_factor=1.25), 1280),
        )
    ),
    Published('mmdet MobileNetV2() [backbone only]', dict(type='MobileNetV2')),
    *(
        Published(name, dict(type='MobileNetV2', widen_factor=factor), (width, 1000))
        for name, factor, width in (
            ('mobilenet_v2', 1.0, 1280),
            ('mobilenet_v2 width 0.5', 0.5, 1280),
            ('mobilenet_v2 width 0.75', 0.75, 1280),
            ('mobilenet_v2 width 1.4', 1.4, 1792),
            ('timm mobilenetv2_035', 0.35, 1280),
            ('timm mobilenetv2_050', 0.5, 1280),
            ('timm mobilenetv2_075', 0.75, 1280),
            ('timm mobilenetv2_100', 1.0, 1280),
            ('timm mobilenetv2_140', 1.4, 1792),
        )
    ),
    *(
        Published(
            f'timm mobilenetv2_{name}',
            dict(type='MobileNetV2', widen_factor=wide, deepen_factor=deep, fix_stem_head=True),
            (1280, 1000),
        )
        for name, wide, deep in (('110d', 1.1, 1.2), ('120d', 1.2, 1.4))
    ),
    *(
        Published(
            f"mmpretrain MobileNetV3('{arch}') [backbone only]", dict(type='MobileNetV3', arch=arch)
        )
        for arch in ('small', 'small_075', 'small_050', 'large')
    ),
    *(
        Published(name, dict(type='MobileNetV3', arch=arch), (width, hidden, 1000))
        for name, arch, width, hidden in (
            ('mobilenet_v3_large', 'large', 960, 1280),
            ('mobilenet_v3_small', 'small', 576, 1024),
            ('timm mobilenetv3_large_075', 'large_075', 720, 1280),
            ('timm mobilenetv3_large_100', 'large', 960, 1280),
            ('timm mobilenetv3_small_050', 'small_050', 288, 1024),
            ('timm mobilenetv3_small_075', 'small_075', 432, 1024),
            ('timm mobilenetv3_small_100', 'small', 576, 1024),
        )
    ),
    *(
        Published(
            f'mmpretrain ShuffleNetV1(groups={groups}) {rest}',
            dict(type='ShuffleNetV1', groups=groups),
            head,
        )
        for groups, width in ((1, 576), (2, 800), (3, 960), (4, 1088), (8, 1536))
        for rest, head in (('[backbone only]', ()), ('+ fc1000', (width, 1000)))
    ),
    *(
        Published(
            f'mmpretrain ShuffleNetV2({factor}) [backbone only]',
            dict(type='ShuffleNetV2', widen_factor=factor),
        )
        for factor in (0.5, 1.0, 1.5, 2.0)
    ),
    *(
        Published(
            f'shufflenet_v2_x{str(factor).replace(".", "_")}',
            dict(type='ShuffleNetV2', widen_factor=factor),
            (width, 1000),
        )
        for factor, width in ((0.5, 1024), (1.0, 1024), (1.5, 1024), (2.0, 2048))
    ),
    *(
        Published(
            f"mmpretrain DenseNet('{arch}') [backbone only]", dict(type='DenseNet', arch=arch)
        )
        for arch in ('121', '161', '169', '201')
    ),
    *(
        Published(f'{library}densenet{arch}', dict(type='DenseNet', arch=arch, num_classes=1000))
        for library in ('', 'timm ')
        for arch in ('121', '161', '169', '201')
    ),
    Published('mmdet CSPDarknet() (C3, P5, 1.0/1.0) [backbone only]', dict(type='CSPDarknet')),
    Published("mmdet EfficientNet('b0') [backbone only]", dict(type='EfficientNet')),
    *(
        Published(
            f'{library}efficientnet_{arch}', dict(type='EfficientNet', arch=arch, num_classes=1000)
        )
        for library, archs in (
            ('', [f'b{i}' for i in range(8)]),
            ('timm ', [*(f'b{i}' for i in range(9)), 'es', 'em', 'el']),
        )
        for arch in archs
    ),
    Published('googlenet', dict(type='GoogLeNet', num_classes=1000, aux_logits=False)),
    Published('googlenet (with aux1/aux2)', dict(type='GoogLeNet', num_classes=1000)),
    Published('LeNet5(num_classes=10) 1x32x32', dict(type='LeNet5', num_classes=10), in_channels=1),
    Published('alexnet', dict(type='AlexNet', num_classes=1000)),
    Published('mmpretrain AlexNet() [backbone only]', dict(type='AlexNet')),
    *(
        Published(f'mmpretrain VGG({depth}) [backbone only]', dict(type='VGG', depth=depth))
        for depth in (11, 13, 16, 19)
    ),
    *(
        Published(
            f'{peer}vgg{depth}{suffix}',
            dict(type='VGG', depth=depth, num_classes=1000, norm_cfg=norm_cfg),
        )
        for peer in ('', 'timm ')
        for depth in (11, 13, 16, 19)
        for suffix, norm_cfg in (('', None), ('_bn', dict(type='BN')))
    ),
    Published(
        'NIN ImageNet (Caffe Model Zoo nin_imagenet layer sizes)',
        dict(type='NIN', num_classes=1000),
    ),
    *(
        Published(f'squeezenet{v}', dict(type='SqueezeNet', arch=v, num_classes=1000))
        for v in ('1_0', '1_1')
    ),
    *(
        Published(
            f'timm inception_next_{arch}', dict(type='InceptionNeXt', arch=arch, num_classes=1000)
        )
        for arch in ('atto', 'tiny', 'small', 'base')
    ),
    *(
        Published(f'timm legacy_se{name}', dict(type='SENet', arch=depth, num_classes=1000))
        for name, depth in (
            ('net154', '154'),
            *((f'resnet{depth}', str(depth)) for depth in (18, 34, 50, 101, 152)),
        )
    ),
)


@functools.cache
def measure(cfg: str, in_channels: int, size: int) -> tuple[int, int, int]:
    """Counts parameters, MACs and channels of a backbone, given as text; many rows share one."""
    cfg = ast.literal_eval(cfg)
    with torch.device('meta'):
        backbone = MODELS.build(dict(cfg, type=f'mmblocks.{cfg["type"]}')).eval()
        x = torch.empty(1, in_channels, size, size)
    for norm in backbone.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.forward = lambda x: x  # no MACs, and slow on the meta device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        last = backbone(x)[-1]
    parameters = sum(p.numel() for p in backbone.parameters())
    return parameters, counter.get_total_flops() // 2, last.shape[1]


@pytest.mark.parametrize('net', sorted(PUBLISHED, key=lambda net: str(net.cfg)), ids=str)
def test_parameters_and_macs_are_the_published_ones(net):
    row = REFERENCE[net.variant]
    parameters, macs, channels = measure(str(net.cfg), net.in_channels, int(row['input']))
    layers = list(itertools.pairwise(net.head))
    assert not layers or net.head[0] == channels
    assert parameters + sum(a * b + b for a, b in layers) == int(row['params'])
    if row['macs']:
        assert macs + sum(a * b for a, b in layers) == int(row['macs'])
