"""The table of backbones: the cost of each, its outputs, and whose weights it loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from mmblocks.backbones.base import BaseBackbone
from mmblocks.describe.catalog import build_on_meta
from mmblocks.utils.text import joined, markdown_table
from mmblocks.utils.types import ConfigType
from mmblocks.weights.published import unmet_needs


class Variant(NamedTuple):
    """A row of the table.

    Attributes:
        title: The net, as people name it.
        cfg: Its config.
        peers: Libraries that it was proved equal to on the same weights, which load as they are.
        image_size: Height and width in pixels of the images that its MACs are counted for.
    """

    title: str
    cfg: ConfigType
    peers: tuple[str, ...]
    image_size: int = 224


class Cost(NamedTuple):
    """What a backbone costs, without any head.

    Attributes:
        parameters: Number of parameters.
        macs: Multiply-adds of convolutions and linear layers for one image.
    """

    parameters: int
    macs: int


LIBRARIES = ('mmdet', 'mmpretrain', 'torchvision', 'timm')
# Libraries whose necks ours were proved equal to, from files with a backbone beside them.
NECK_PEERS = {'FPN': ('mmdet', 'torchvision')}
RESNET_PEERS = ('mmdet', 'torchvision', 'timm', 'mmpretrain')
VARIANTS = (
    *(Variant(f'ResNet-{d}', dict(type='ResNet', depth=d), RESNET_PEERS) for d in (18, 34, 50)),
    Variant('ResNet-101', dict(type='ResNet', depth=101), RESNET_PEERS),
    Variant('ResNet-152', dict(type='ResNet', depth=152), RESNET_PEERS),
    Variant('ResNetV1c-50', dict(type='ResNetV1c', depth=50), ('mmpretrain', 'timm')),
    Variant('ResNetV1d-50', dict(type='ResNetV1d', depth=50), ('mmdet', 'mmpretrain', 'timm')),
    Variant(
        'ResNeXt-50 32x4d',
        dict(type='ResNeXt', depth=50, groups=32, base_width=4),
        ('mmdet', 'torchvision', 'timm', 'mmpretrain'),
    ),
    Variant('SEResNet-50', dict(type='SEResNet', depth=50), ('mmpretrain', 'timm')),
    *(
        Variant(
            f'MobileNetV1 {w}',
            dict(type='MobileNetV1', widen_factor=w),
            ('timm',),
        )
        for w in (0.25, 0.5, 0.75, 1.0)
    ),
    *(
        Variant(
            f'MobileNetV2 {w}',
            dict(type='MobileNetV2', widen_factor=w),
            ('mmdet', 'torchvision', 'mmpretrain', 'timm'),
        )
        for w in (0.5, 1.0, 1.4)
    ),
    *(
        Variant(f'MobileNetV3 {arch}', dict(type='MobileNetV3', arch=arch), ('mmpretrain', 'timm'))
        for arch in ('small_050', 'small_075')
    ),
    *(
        Variant(
            f'MobileNetV3 {arch}',
            dict(type='MobileNetV3', arch=arch),
            ('mmpretrain', 'torchvision', 'timm'),
        )
        for arch in ('small', 'large')
    ),
    *(
        Variant(
            f'MobileNetV4 conv_small {w}',
            dict(type='MobileNetV4', widen_factor=w),
            ('timm',),
        )
        for w in (0.35, 0.5, 1.0)
    ),
    *(
        Variant(f'MobileNetV4 {arch}', dict(type='MobileNetV4', arch=arch), ('timm',))
        for arch in ('conv_medium', 'conv_large')
    ),
    *(
        Variant(
            f'ShuffleNetV1 g={g}',
            dict(type='ShuffleNetV1', groups=g, out_indices=(0, 1, 2)),
            ('mmpretrain',),
        )
        for g in (1, 3, 8)
    ),
    *(
        Variant(
            f'ShuffleNetV2 {w}',
            dict(type='ShuffleNetV2', widen_factor=w, out_indices=(0, 1, 2)),
            ('mmpretrain', 'torchvision'),
        )
        for w in (0.5, 1.0, 1.5, 2.0)
    ),
    Variant('GhostNet 0.5', dict(type='GhostNet', widen_factor=0.5), ('timm',)),
    Variant('GhostNet 1.0', dict(type='GhostNet'), ('timm',)),
    Variant('GhostNet 1.3', dict(type='GhostNet', widen_factor=1.3), ('timm',)),
    *(
        Variant(
            f'CSPDarknet C3, YOLOX-{size}',
            dict(type='CSPDarknet', deepen_factor=deep, widen_factor=wide),
            ('mmdet',),
        )
        for size, deep, wide in (
            ('tiny', 0.33, 0.375),
            ('s', 0.33, 0.5),
            ('m', 0.67, 0.75),
            ('l', 1.0, 1.0),
            ('x', 1.33, 1.25),
        )
    ),
    *(
        Variant(
            f'CSPDarknet C2f {deep}/{wide}',
            dict(type='CSPDarknet', deepen_factor=deep, widen_factor=wide, block='C2f'),
            (),
        )
        for deep, wide in ((0.33, 0.25), (0.33, 0.5))
    ),
    *(
        Variant(
            f'DenseNet-{arch}',
            dict(type='DenseNet', arch=arch, out_indices=(0, 1, 2, 3)),
            ('torchvision', 'timm', 'mmpretrain'),
        )
        for arch in ('121', '161', '169', '201')
    ),
    *(
        Variant(
            f'EfficientNet-{arch}',
            dict(type='EfficientNet', arch=arch, out_indices=(2, 3, 4, 5)),
            peers,
        )
        for archs, peers in (
            (
                ('b0', 'b1', 'b2', 'b3', 'b4', 'b5', 'b6', 'b7'),
                ('mmdet', 'mmpretrain', 'torchvision', 'timm'),
            ),
            (('b8',), ('mmdet', 'mmpretrain', 'timm')),
            (('es', 'em'), ('mmpretrain', 'timm')),
            (('el',), ('timm',)),
        )
        for arch in archs
    ),
    Variant('GoogLeNet', dict(type='GoogLeNet'), ('torchvision',)),
    Variant('LeNet-5', dict(type='LeNet5'), ('mmpretrain',), image_size=32),
    Variant('AlexNet', dict(type='AlexNet'), ('torchvision', 'mmpretrain')),
    *(
        Variant(
            f'VGG-{d}',
            dict(type='VGG', depth=d, out_indices=(1, 2, 3, 4)),
            ('torchvision', 'mmpretrain', 'timm'),
        )
        for d in (11, 13, 16, 19)
    ),
    Variant('NIN ImageNet', dict(type='NIN'), ()),
    Variant('NIN CIFAR', dict(type='NIN', arch='cifar'), (), image_size=32),
    *(
        Variant(f'SqueezeNet {v}', dict(type='SqueezeNet', arch=v), ('torchvision',))
        for v in ('1_0', '1_1')
    ),
    *(
        Variant(f'InceptionNeXt {arch}', dict(type='InceptionNeXt', arch=arch), ('timm',))
        for arch in ('atto', 'tiny', 'small', 'base')
    ),
    Variant('SENet-154', dict(type='SENet', arch='154'), ('timm',)),
    *(
        Variant(f'SE-ResNet-{d}, from Caffe', dict(type='SENet', arch=d), ('timm',))
        for d in ('18', '34', '50', '101', '152')
    ),
    *(
        Variant(f'SE-ResNeXt-{d}, from Caffe', dict(type='SENet', arch=d), ('timm',))
        for d in ('50_32x4d', '101_32x4d')
    ),
    *(
        Variant(f'PreActSEResNet-{d}', dict(type='PreActSEResNet', depth=d), ())
        for d in (18, 34, 50)
    ),
    *(
        Variant(f'PreActResNet-{d}', dict(type='PreActSEResNet', depth=d, se_ratio=None), ('timm',))
        for d in (18, 34, 50)
    ),
)


def cost(cfg: Mapping[str, Any], image_size: int = 224) -> Cost:
    """Counts parameters and MACs of a backbone without allocating it.

    Args:
        cfg: The backbone's config.
        image_size: Height and width of the image in pixels.

    Returns:
        The counts.

    Example:
        >>> cost(dict(type='mmblocks.ResNet', depth=18))
        Cost(parameters=11176512, macs=1813561344)
    """
    return _cost(build_on_meta(cfg), image_size)


def _cost(backbone: BaseBackbone, image_size: int) -> Cost:
    channels: Any = next(m.in_channels for m in backbone.modules() if hasattr(m, 'in_channels'))
    image = torch.empty(1, channels, image_size, image_size, device='meta')
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.eval()(image)
    return Cost(sum(p.numel() for p in backbone.parameters()), counter.get_total_flops() // 2)


def backbones_table(variants: tuple[Variant, ...] = VARIANTS) -> str:
    """Returns the README's table of backbones.

    Args:
        variants: The rows.

    Returns:
        The table in Markdown, one line per variant.
    """
    rows = [('net', 'config', 'parameters', 'MACs', 'channels', 'strides', 'weights of')]
    for title, cfg, peers, image_size in variants:
        backbone = build_on_meta(cfg)
        parameters, macs = _cost(backbone, image_size)
        options = ', '.join(f'{k}={v!r}' for k, v in cfg.items() if k != 'type')
        row = (
            title,
            f'`{cfg["type"]}({options})`',
            f'{parameters / 1e6:.2f} M',
            _macs(macs) + (f' at {image_size}x{image_size}' if image_size != 224 else ''),
            joined(backbone.out_channels),
            joined(backbone.out_strides),
            joined(peers),
        )
        rows.append(row)
    return markdown_table(rows, 'llrrlll')


def weights_table(variants: tuple[Variant, ...] = VARIANTS) -> str:
    """Returns the README's table of whose weights each net loads.

    Args:
        variants: The rows of the table of backbones.

    Returns:
        The table in Markdown, one line per class of backbone and neck; below it the arguments
        that some of the weights need beside those of the table of backbones.
    """
    peers = {name: set(libraries) for name, libraries in NECK_PEERS.items()}
    needs: dict[str, None] = {}
    for variant in variants:
        name = variant.cfg['type']
        peers.setdefault(name, set()).update(variant.peers)
        for row, arguments in unmet_needs(build_on_meta(variant.cfg)):
            needs[f'- {name} with the weights of {row.whose}: `{arguments}`'] = None
    rows: list[tuple[str, ...]] = [('net', *LIBRARIES)]
    for name in sorted(peers, key=str.lower):
        rows.append((name, *('proved' * (library in peers[name]) for library in LIBRARIES)))
    table = markdown_table(rows, 'l' + 'c' * len(LIBRARIES))
    return '\n'.join([table, '', _NEEDS, '', *sorted(needs)])


_NEEDS = (
    'The proofs hold for the default `conv_cfg`, `norm_cfg`, `act_cfg` and `style`, but for these, '
    'which need others:'
)


def _macs(count: int) -> str:
    if count < 1e6:
        return f'{count / 1e6:.2f} M'
    return f'{count / 1e9:.2f} G' if count >= 1e9 else f'{count / 1e6:.0f} M'
