"""InceptionNeXt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.arch import resolve_arch
from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.classifier import optional_classifier, outputs_with_classifier
from mmblocks.backbones.drop_path import drop_path_rates
from mmblocks.backbones.output_stride import BlockStride, limit_strides
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv import build_conv
from mmblocks.layers.meta_next import MetaNeXtBlock
from mmblocks.layers.norm import build_norm
from mmblocks.utils.accepted import COUNTS, FACTOR, ODD, Accepted, is_list_of, is_number
from mmblocks.utils.checks import check_arguments, shown
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import KeyMapping, drop_parts, register_key_mappings

_SIZES = Accepted(COUNTS.fits, 'ints of at least 1, one entry per stage')
_RATIOS = Accepted(
    lambda values: is_list_of(lambda ratio: is_number(ratio) and ratio >= 1, values),
    'numbers of at least 1, one entry per stage',
)


class _Arch(NamedTuple):
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    mlp_ratios: tuple[float, ...] = (4, 4, 4, 3)
    band_kernel_size: int = 11
    branch_ratio: float = 0.125


@MODELS.register_module()
class InceptionNeXt(BaseBackbone):
    """`InceptionNeXt <https://arxiv.org/abs/2303.16900>`_: ConvNeXt with Inception's branches.

    Keys are timm's, whose weights load as they are. Map i is the end of stage i, stride 4, 8, 16 or
    32. Stem and downsampling do not pad: sizes that the stride does not divide are rounded down.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: 'atto', 'tiny', 'small' or 'base'; or a dict of ``depths`` (blocks) and ``widths``
            (channels) of the stages, and, where they differ from tiny's, ``mlp_ratios`` of the
            stages (channels within the MLPs per channel), ``band_kernel_size`` (pixels) and
            ``branch_ratio`` (share of the channels per kernel) of InceptionDWConv2d.
        layer_scale_init_value: Start of the learnt factors of what each block adds; 0 for no such
            factors.
        num_classes: Classes of the classifier, an MLP with a GELU and a LayerNorm; -1 for none.
        out_indices: Which of the maps to give, 0 to 3. Default: all, or with a classifier none.
        act_cfg: Activation within the MLPs of the blocks.
        drop_rate: Dropout rate in front of the classifier's last layer.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> net = InceptionNeXt('atto')
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 40, 16, 16), (1, 80, 8, 8), (1, 160, 4, 4), (1, 320, 2, 2)]
    """

    variants = tuple(
        Variant(f'InceptionNeXt {arch}', dict(arch=arch), ('timm',))
        for arch in ('atto', 'tiny', 'small', 'base')
    )
    default_init_cfg: ClassVar[list[ConfigType]] = [
        dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02),
        dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm', 'LayerNorm']),
    ]
    stem_stride: ClassVar[int] = 4
    arch_settings: ClassVar[dict[str, _Arch]] = {
        'atto': _Arch((2, 2, 6, 2), (40, 80, 160, 320), band_kernel_size=9, branch_ratio=0.25),
        'tiny': _Arch((3, 3, 9, 3), (96, 192, 384, 768)),
        'small': _Arch((3, 3, 27, 3), (96, 192, 384, 768)),
        'base': _Arch((3, 3, 27, 3), (128, 256, 512, 1024)),
    }

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'tiny',
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        num_classes: int = -1,
        out_indices: int | Sequence[int] | None = None,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='GELU'),
        in_channels: int = 3,
        output_stride: int = 32,
        drop_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        check_arguments(InceptionNeXt, locals())
        settings = resolve_arch(
            arch,
            self.arch_settings,
            depths=_SIZES,
            widths=_SIZES,
            mlp_ratios=_RATIOS,
            band_kernel_size=ODD,
            branch_ratio=FACTOR,
        )
        if len({len(values) for values in settings[:3]}) > 1:
            raise ValueError(
                f'arch={shown(arch)}: depths, widths and mlp_ratios (default '
                f'{_Arch._field_defaults["mlp_ratios"]}) must have one entry per stage'
            )
        maps = range(len(settings.depths))
        out_indices = outputs_with_classifier(num_classes, out_indices, maps)
        super().__init__(out_indices, **kwargs)
        self.arch = arch
        # Each stage: its downsampling, which the first does not have, and its blocks.
        strides = [stride for i in maps for stride in (2 if i else 1, 1)]
        places = limit_strides(strides, output_stride, self.stem_stride)
        rates = drop_path_rates(drop_path_rate, sum(settings.depths))
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        block_options = dict(
            layers,
            act_cfg=act_cfg,
            band_kernel_size=settings.band_kernel_size,
            branch_ratio=settings.branch_ratio,
            layer_scale_init_value=layer_scale_init_value,
        )
        groups = self._groups(in_channels, settings, places, rates, layers, block_options)
        classifier = optional_classifier(num_classes, _classifier, drop_rate=drop_rate)
        self.add_groups(groups, len(settings.depths), classifier)
        dropped = () if num_classes > 0 else (drop_parts('timm', 'head'),)
        register_key_mappings(self, (_features_only(len(settings.depths)), *dropped))

    def _groups(
        self,
        in_channels: int,
        settings: _Arch,
        places: Sequence[BlockStride],
        rates: Sequence[float],
        layers: ConfigType,
        block_options: ConfigType,
    ) -> Iterator[Group]:
        channels, size = settings.widths[0], self.stem_stride
        stem = Sequential(
            build_conv(layers['conv_cfg'], in_channels, channels, size, stride=size),
            build_norm(layers['norm_cfg'], channels)[1],
        )
        yield Group({'stem': stem}, channels, size, is_output=False)
        remaining = iter(rates)
        stages = zip(settings.depths, settings.widths, settings.mlp_ratios, strict=True)
        for i, (depth, width, mlp_ratio) in enumerate(stages):
            down, inner = places[2 * i : 2 * i + 2]
            modules: dict[str, nn.Module] = {}
            if i:
                modules[f'stages.{i}.downsample'] = _downsample(channels, width, down, **layers)
            options = dict(block_options, mlp_ratio=mlp_ratio, dilation=inner.dilation)
            modules[f'stages.{i}.blocks'] = Sequential(
                *(
                    MetaNeXtBlock(width, drop_path_rate=rate, **options)
                    for rate in islice(remaining, depth)
                )
            )
            channels = width
            yield Group(modules, channels, inner.total)


def _downsample(
    in_channels: int,
    out_channels: int,
    step: BlockStride,
    conv_cfg: ConfigType | None,
    norm_cfg: ConfigType,
) -> nn.Module:
    parts = OrderedDict({'0': build_norm(norm_cfg, in_channels)[1]})
    if step.stride == 1:
        # So that the map keeps its size; the odd pixel is at the right and the bottom.
        before = step.dilation // 2
        after = step.dilation - before
        parts['pad'] = nn.ZeroPad2d((before, after, before, after))
    parts['1'] = build_conv(
        conv_cfg, in_channels, out_channels, 2, stride=step.stride, dilation=step.dilation
    )
    return Sequential(parts)


def _classifier(in_channels: int, num_classes: int, drop_rate: float) -> dict[str, nn.Module]:
    hidden = 3 * in_channels
    return {
        'head.global_pool': nn.AdaptiveAvgPool2d(1),
        'head.flatten': nn.Flatten(),
        'head.fc1': nn.Linear(in_channels, hidden),
        'head.act': nn.GELU(),
        'head.norm': nn.LayerNorm(hidden, eps=1e-6),
        'head.drop': nn.Dropout(drop_rate),
        'head.fc2': nn.Linear(hidden, num_classes),
    }


def _features_only(num_stages: int) -> KeyMapping:
    parts = [f'stem.{i}' for i in (0, 1)] + [f'stages.{i}' for i in range(num_stages)]
    return KeyMapping(
        'timm with features_only',
        r'stem_0\.',
        tuple((part, part.replace('.', '_')) for part in parts),
        dropped=('head',),
    )
