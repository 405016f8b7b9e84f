"""InceptionNeXt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.classifier import outputs_with_classifier
from mmblocks.backbones.output_stride import BlockStride, limit_strides
from mmblocks.layers.conv import build_conv
from mmblocks.layers.meta_next import MetaNeXtBlock
from mmblocks.layers.norm import build_norm
from mmblocks.utils.checks import check_arguments, is_count, is_number
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import KeyMapping, drop_parts, register_key_mappings


class _Arch(NamedTuple):
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    mlp_ratios: tuple[float, ...] = (4, 4, 4, 3)
    band_kernel_size: int = 11
    branch_ratio: float = 0.125


@MODELS.register_module()
class InceptionNeXt(BaseBackbone):
    """`InceptionNeXt <https://arxiv.org/abs/2303.16900>`_: ConvNeXt with Inception's branches.

    Keys are timm's, whose weights load as they are; those of a classifier that was not asked for
    are dropped. Map i is the end of stage i, stride 4, 8, 16 or 32. Stem and downsampling do not
    pad: of a size that the stride does not divide, the rest at the right and the bottom is left
    out. Stages behind the last output are not built.

    Args:
        arch: 'atto', 'tiny', 'small' or 'base'; or a dict of ``depths`` (blocks) and ``widths``
            (channels) of the stages, and, where they differ from tiny's, ``mlp_ratios`` of the
            stages (channels within the MLPs per channel), ``band_kernel_size`` (pixels) and
            ``branch_ratio`` (share of the channels per kernel) of InceptionDWConv2d.
        drop_path_rate: Share of the samples that skip the last block in training, from 0 up to
            but not 1; it rises linearly over the blocks from 0 for the first.
        layer_scale_init_value: Start of the learnt factors of what each block adds; 0 for no such
            factors.
        num_classes: Classes of the classifier, an MLP with a GELU and a LayerNorm; -1 for feature
            maps only.
        out_indices: Which of the maps to give, 0 to 3; negative ones count from the end.
            Default: all, or with a classifier none, so that the logits are the only output.
        frozen_stages: -1 freezes nothing, 0 the stem, k the stem and the first k stages.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none. The default is that of all published weights.
        act_cfg: Activation within the MLPs of the blocks.
        norm_eval: Keep BatchNorm in eval mode during training.
        with_cp: Recompute each block's activations in backward to save memory.
        init_cfg: MMEngine's initialisation config; default: timm's normal distribution of
            standard deviation 0.02 for convolutions and linear layers.
        in_channels: Channels of the images.
        output_stride: Most image pixels per pixel of any map; with 8 or 16, strides past it
            become dilations, for dense prediction.
        drop_rate: Share of the values in front of the last layer of the classifier that are
            zeroed in training.
        plugins: Modules to insert; see :class:`BaseBackbone`.
        replace_convs: Layers to put in place of convolutions; see :class:`BaseBackbone`.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import torch
        >>> net = InceptionNeXt('atto')
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 40, 16, 16), (1, 80, 8, 8), (1, 160, 4, 4), (1, 320, 2, 2)]
    """

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
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='GELU'),
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        output_stride: int = 32,
        drop_rate: float = 0.0,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(InceptionNeXt, locals())
        settings = self._settings(arch)
        maps = range(len(settings.depths))
        out_indices = outputs_with_classifier(num_classes, out_indices, maps)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        self.arch = arch
        # Each stage: its downsampling, which the first does not have, and its blocks.
        strides = [stride for i in maps for stride in (2 if i else 1, 1)]
        groups = self._groups(
            in_channels,
            settings,
            limit_strides(strides, output_stride, self.stem_stride),
            drop_path_rate,
            dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg),
            dict(act_cfg=act_cfg, layer_scale_init_value=layer_scale_init_value),
        )
        classifier = partial(_classifier, num_classes=num_classes, drop_rate=drop_rate)
        self.add_groups(groups, len(settings.depths), classifier if num_classes > 0 else None)
        dropped = () if num_classes > 0 else (drop_parts('timm', 'head'),)
        register_key_mappings(self, (_features_only(len(settings.depths)), *dropped))

    def _settings(self, arch: str | Mapping[str, Any]) -> _Arch:
        if not isinstance(arch, Mapping):
            if not isinstance(arch, str) or arch not in self.arch_settings:
                raise ValueError(
                    f'arch={arch!r}: must be one of {list(self.arch_settings)}, or a dict of '
                    f'{list(_Arch._fields)}'
                )
            return self.arch_settings[arch]
        needed = {'depths', 'widths'}
        if not needed <= set(arch) <= set(_Arch._fields):
            raise ValueError(
                f'arch={arch!r}: must have the keys {sorted(needed)} and may have '
                f'{list(_Arch._field_defaults)}'
            )
        settings = _Arch(**arch)
        per_stage = (settings.depths, settings.widths, settings.mlp_ratios)
        are_lists = all(isinstance(values, Sequence) for values in per_stage)
        if not are_lists or not settings.depths or len(set(map(len, per_stage))) > 1:
            raise ValueError(
                f'arch={arch!r}: depths, widths and mlp_ratios (default '
                f'{_Arch._field_defaults["mlp_ratios"]}) must have one entry per stage'
            )
        sizes = (*settings.depths, *settings.widths)
        if not all(map(is_count, sizes)):
            raise ValueError(f'arch={arch!r}: depths and widths must be ints of at least 1')
        if not all(is_number(ratio) and ratio >= 1 for ratio in settings.mlp_ratios):
            raise ValueError(f'arch={arch!r}: mlp_ratios must be at least 1')
        return settings

    def _groups(
        self,
        in_channels: int,
        settings: _Arch,
        strides: Sequence[BlockStride],
        drop_path_rate: float,
        layers: ConfigType,
        block_options: ConfigType,
    ) -> Iterator[Group]:
        conv_cfg, norm_cfg = layers['conv_cfg'], layers['norm_cfg']
        channels = settings.widths[0]
        stem = Sequential(
            build_conv(conv_cfg, in_channels, channels, self.stem_stride, stride=self.stem_stride),
            build_norm(norm_cfg, channels)[1],
        )
        yield Group({'stem': stem}, channels, self.stem_stride, is_output=False)
        # Blocks that are not built count as well: the rates do not depend on the outputs.
        num_before, last = 0, max(sum(settings.depths) - 1, 1)
        stages = zip(settings.depths, settings.widths, settings.mlp_ratios, strict=True)
        for i, (depth, width, mlp_ratio) in enumerate(stages):
            down, inner = strides[2 * i : 2 * i + 2]
            modules: dict[str, nn.Module] = {}
            if i:
                modules[f'stages.{i}.downsample'] = _downsample(channels, width, down, **layers)
            modules[f'stages.{i}.blocks'] = Sequential(
                *(
                    MetaNeXtBlock(
                        width,
                        mlp_ratio,
                        settings.band_kernel_size,
                        settings.branch_ratio,
                        inner.dilation,
                        drop_path_rate=drop_path_rate * (num_before + j) / last,
                        **block_options,
                        **layers,
                    )
                    for j in range(depth)
                )
            )
            channels = width
            num_before += depth
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
