"""SENet and the SE-ResNets and SE-ResNeXts that were published with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from mmcv.cnn import build_activation_layer
from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.classifier import (
    optional_classifier,
    outputs_with_classifier,
    pooled_linear,
)
from mmblocks.backbones.conv_norm import conv_norm
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.senet_blocks import SENet154Bottleneck, SENetBasicBlock, SENetBottleneck
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import KeyMapping, register_key_mappings


class _Arch(NamedTuple):
    block: type[SENetBasicBlock] | type[SENetBottleneck]
    stage_blocks: tuple[int, int, int, int]
    style: str = 'caffe'
    # Of the 3x3 convolutions of a bottleneck: groups, and channels of each for 64 planes.
    groups: int = 1
    group_width: int = 64
    # Per convolution of the stem: its kernel size and its channels for 64 base_channels.
    stem: tuple[tuple[int, int], ...] = ((7, 64),)
    # Of the shortcuts that have a stride.
    shortcut_kernel_size: int = 1


@MODELS.register_module()
class SENet(BaseBackbone):
    """`Squeeze-and-Excitation Networks <https://arxiv.org/abs/1709.01507>`_, as published.

    SENet-154 and the nets that were made with it in Caffe: they differ from SEResNet in the max
    pool of the stem, which does not pad, and in the place of the strides. State-dict keys are
    those of timm's ``legacy_senet154``, ``legacy_seresnet*`` and ``legacy_seresnext*``, whose
    weights load as they are. Map i is the end of ``layer{i + 1}``, stride 4, 8, 16 or 32; the
    pool rounds half of an odd size down.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: '154'; '18', '34', '50', '101' or '152' for an SE-ResNet; '26_32x4d', '50_32x4d' or
            '101_32x4d' for an SE-ResNeXt. Also as a number.
        base_channels: Planes of the first stage; groups and stem grow and shrink with it.
        se_ratio: Channels per hidden channel of each squeeze-and-excitation.
        out_indices: Which of the maps to give, 0 to 3. Default: all, or with a classifier none.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> net = SENet('18', frozen_stages=1)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4), (1, 512, 2, 2)]
    """

    variants = (
        Variant('SENet-154', dict(arch='154'), ('timm',)),
        *(
            Variant(f'SE-ResNet-{arch}, from Caffe', dict(arch=arch), ('timm',))
            for arch in ('18', '34', '50', '101', '152')
        ),
        *(
            Variant(f'SE-ResNeXt-{arch}, from Caffe', dict(arch=arch), ('timm',))
            for arch in ('50_32x4d', '101_32x4d')
        ),
    )
    arch_settings: ClassVar[dict[str, _Arch]] = {
        '18': _Arch(SENetBasicBlock, (2, 2, 2, 2)),
        '34': _Arch(SENetBasicBlock, (3, 4, 6, 3)),
        '50': _Arch(SENetBottleneck, (3, 4, 6, 3)),
        '101': _Arch(SENetBottleneck, (3, 4, 23, 3)),
        '152': _Arch(SENetBottleneck, (3, 8, 36, 3)),
        '26_32x4d': _Arch(SENetBottleneck, (2, 2, 2, 2), 'pytorch', 32, 4),
        '50_32x4d': _Arch(SENetBottleneck, (3, 4, 6, 3), 'pytorch', 32, 4),
        '101_32x4d': _Arch(SENetBottleneck, (3, 4, 23, 3), 'pytorch', 32, 4),
        '154': _Arch(
            SENet154Bottleneck,
            (3, 8, 36, 3),
            'pytorch',
            groups=64,
            group_width=2,
            stem=((3, 64), (3, 64), (3, 128)),
            shortcut_kernel_size=3,
        ),
    }

    def __init__(
        self,
        arch: str | int = '154',
        in_channels: int = 3,
        base_channels: int = 64,
        se_ratio: int = 16,
        num_classes: int = -1,
        out_indices: int | Sequence[int] | None = None,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        drop_rate: float = 0.2,
        **kwargs: Any,
    ) -> None:
        check_choice('arch', str(arch), self.arch_settings)
        check_arguments(SENet, locals())
        settings = self.arch_settings[str(arch)]
        if settings.groups > 1 and settings.groups * base_channels % 64:
            raise ValueError(
                f'base_channels={base_channels!r}: must leave a whole number of groups; with 64, '
                f'arch={arch!r} has {settings.groups}'
            )
        out_indices = outputs_with_classifier(num_classes, out_indices, (0, 1, 2, 3))
        super().__init__(out_indices, **kwargs)
        self.arch = str(arch)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        groups = self._groups(in_channels, settings, base_channels, se_ratio, layers)
        classifier = optional_classifier(
            num_classes, pooled_linear, name='last_linear', drop_rate=drop_rate
        )
        self.add_groups(groups, len(settings.stage_blocks), classifier)
        dropped = () if classifier else ('last_linear',)
        theirs = KeyMapping('timm (legacy)', r'last_linear\.', dropped=dropped)
        register_key_mappings(self, (_OTHER_POOL, theirs))

    @staticmethod
    def _groups(
        in_channels: int, arch: _Arch, base_channels: int, se_ratio: int, layers: ConfigType
    ) -> Iterator[Group]:
        stem, channels = _stem(in_channels, arch, base_channels, layers)
        conv_layers = {name: layers[name] for name in ('conv_cfg', 'norm_cfg')}
        yield Group(
            {'layer0': stem, 'pool0': nn.MaxPool2d(3, stride=2, ceil_mode=True)},
            channels,
            4,
            is_output=False,
        )
        for i, num_blocks in enumerate(arch.stage_blocks):
            planes = base_channels * 2**i
            out_channels = planes * arch.block.expansion
            stride = 2 if i else 1
            downsample = None
            if stride > 1 or channels != out_channels:
                kernel_size = arch.shortcut_kernel_size if i else 1
                downsample = Sequential(
                    *conv_norm(channels, out_channels, kernel_size, stride, **conv_layers)
                )
            options = dict(
                layers,
                style=arch.style,
                width=planes * arch.groups * arch.group_width // 64,
                # The first stage's groups keep their width, however wide the net is.
                groups=1 if arch.groups == 1 else arch.groups * base_channels // 64,
                se_ratio=se_ratio,
            )
            blocks = [arch.block(channels, planes, stride, downsample, **options)]
            blocks += [arch.block(out_channels, planes, **options) for _ in range(num_blocks - 1)]
            channels = out_channels
            yield Group({f'layer{i + 1}': Sequential(*blocks)}, channels, 2 ** (i + 2))


def _stem(
    in_channels: int, arch: _Arch, base_channels: int, layers: ConfigType
) -> tuple[nn.Module, int]:
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for i, (kernel_size, width) in enumerate(arch.stem, 1):
        out_channels = width * base_channels // 64
        modules[f'conv{i}'] = build_conv(
            layers['conv_cfg'],
            channels,
            out_channels,
            kernel_size,
            stride=2 if i == 1 else 1,
            padding=kernel_size // 2,
            bias=layers['norm_cfg'] is None,
        )
        norm_name, norm = build_norm(layers['norm_cfg'], out_channels, postfix=i)
        modules[norm_name] = norm
        modules[f'relu{i}'] = build_activation_layer(layers['act_cfg'])
        channels = out_channels
    return Sequential(modules), channels


_OTHER_POOL = KeyMapping(
    "SEResNet or timm's seresnet",
    r'layer\d\.\d+\.(se|se_layer)\.',
    refused="the stem's max pool is another one there, so the outputs would differ; "
    'SEResNet takes them',
)
