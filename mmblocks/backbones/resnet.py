"""ResNet."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.conv_norm import conv_norm
from mmblocks.backbones.drop_path import drop_path_rates
from mmblocks.backbones.init_cfg import resolve_init_cfg
from mmblocks.backbones.resnet_keys import resnet_key_mappings, resnet_published
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.residual import BasicBlock, Bottleneck
from mmblocks.utils.accepted import COUNT, Accepted, is_layer_cfg, is_list_of
from mmblocks.utils.checks import check, check_arguments, check_choice, check_per_stage
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import register_key_mappings

# 0 and 1 as well.
_BOOL = Accepted(lambda value: value in (False, True), 'True or False')
_BOOLS = Accepted(lambda value: is_list_of(_BOOL.fits, value), 'a list of bools')


class _Arch(NamedTuple):
    block: type[BasicBlock] | type[Bottleneck]
    stage_blocks: tuple[int, int, int, int]


class _Stage(NamedTuple):
    num_blocks: int
    planes: int
    stride: int
    dilation: int
    dcn: ConfigType | None


@MODELS.register_module()
class ResNet(BaseBackbone):
    """`Deep Residual Learning for Image Recognition <https://arxiv.org/abs/1512.03385>`_.

    Arguments, defaults and state-dict keys are those of mmdet's ResNet, which are torchvision's.
    Beyond it, ``dcn`` and ``plugins`` work in the shallow nets too. In mmpretrain ``norm_eval`` is
    False and ``out_indices`` is (3,) where a config leaves them out.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem_channels: Channels of the stem; ``base_channels`` if left out.
        base_channels: Channels of the first stage's inner convolutions.
        num_stages: Number of stages, 1 to 4.
        strides: Stride of each stage.
        dilations: Dilation of each stage's 3x3 convolutions.
        out_indices: Which stages, counted from 0, give an output.
        style: 'pytorch': a Bottleneck's 3x3 convolution has the stride; 'caffe': its first 1x1.
        deep_stem: Three 3x3 convolutions as stem in place of the 7x7 one.
        avg_down: Shortcuts downsample by average pooling in place of a strided convolution.
        dcn: Deformable convolutions in place of each block's 3x3 one (a BasicBlock's second):
            ``type`` and its arguments. With ``fallback_on_stride=True`` those with a stride > 1
            stay plain.
        stage_with_dcn: Per stage, whether ``dcn`` is used there.
        plugins: Modules to insert in the blocks: dicts with ``cfg``, ``position`` (after_conv1,
            after_conv2, in Bottlenecks also after_conv3) and ``stages``, one bool per stage.
            Several at one position run in order, each on the previous one's output; a
            ``postfix`` in ``cfg`` tells two of one type apart.
        zero_init_residual: Start with identity blocks: the last norm's weight is 0.
        expansion: Output channels of a block per inner channel, for mmpretrain's configs: 1 of
            depth 18 and 34, 4 of the deeper ones.

    Example:
        >>> import torch
        >>> net = ResNet(18, frozen_stages=1)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4), (1, 512, 2, 2)]
    """

    variants = tuple(
        Variant(
            f'ResNet-{depth}', dict(depth=depth), ('mmdet', 'torchvision', 'timm', 'mmpretrain')
        )
        for depth in (18, 34, 50, 101, 152)
    )
    arch_settings: ClassVar[dict[int, _Arch]] = {
        18: _Arch(BasicBlock, (2, 2, 2, 2)),
        34: _Arch(BasicBlock, (3, 4, 6, 3)),
        50: _Arch(Bottleneck, (3, 4, 6, 3)),
        101: _Arch(Bottleneck, (3, 4, 23, 3)),
        152: _Arch(Bottleneck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
        deep_stem: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', requires_grad=True),
        norm_eval: bool = True,
        dcn: ConfigType | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        plugins: Sequence[ConfigType] | None = None,
        with_cp: bool | str = False,
        zero_init_residual: bool = True,
        pretrained: str | None = None,
        init_cfg: MultiConfig | None = None,
        drop_path_rate: float = 0.0,
        expansion: int | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_choice('depth', depth, self.arch_settings)
        check_choice('style', style, ('pytorch', 'caffe'))
        check_arguments(ResNet, locals())
        own_init = init_cfg is None and pretrained is None
        init_cfg = resolve_init_cfg(init_cfg, pretrained)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        self.depth = depth
        self.block, stage_blocks = self.arch_settings[depth]
        if expansion is not None:
            check_choice('expansion', expansion, [self.block.expansion])
        check_choice('num_stages', num_stages, range(1, len(stage_blocks) + 1))
        check_per_stage('strides', strides, num_stages, COUNT)
        check_per_stage('dilations', dilations, num_stages, COUNT)
        stage_with_dcn = _check_dcn(dcn, stage_with_dcn, num_stages)
        dcns = [dcn if with_dcn else None for with_dcn in stage_with_dcn]
        rows = zip(stage_blocks[:num_stages], strides, dilations, dcns, strict=True)
        stages = [
            _Stage(num_blocks, base_channels * 2**i, stride, dilation, stage_dcn)
            for i, (num_blocks, stride, dilation, stage_dcn) in enumerate(rows)
        ]
        self.base_channels = base_channels
        stem_channels = stem_channels or base_channels
        if deep_stem and stem_channels < 2:
            raise ValueError(f'stem_channels={stem_channels}: must be at least 2 with deep_stem')
        layers: ConfigType = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        stem = (_deep_stem if deep_stem else _plain_stem)(in_channels, stem_channels, **layers)
        groups = self._groups(
            Group(stem, stem_channels, 4, is_output=False),
            stages,
            partial(_downsample, avg_down=avg_down, **layers),
            drop_path_rates(drop_path_rate, sum(stage_blocks)),
            dict(layers, style=style, zero_init_residual=zero_init_residual and own_init),
        )
        self.add_groups(groups, num_stages)
        own_options = self.block_options(base_channels)
        register_key_mappings(
            self,
            resnet_key_mappings(
                stage_blocks, strides, deep_stem, avg_down, with_se='se_ratio' in own_options
            ),
        )
        if base_channels == 64:
            self.published = resnet_published(
                depth, deep_stem, avg_down, plain_blocks=not own_options
            )

    def block_options(self, planes: int) -> dict[str, Any]:
        """Returns what a relative of ResNet passes to its blocks beyond ResNet's own options.

        Args:
            planes: Base channels of the stage.
        """
        return {}

    def _groups(
        self,
        stem: Group,
        stages: list[_Stage],
        downsample: Callable[[int, int, int], nn.Module],
        rates: Iterable[float],
        block_args: ConfigType,
    ) -> Iterator[Group]:
        yield stem
        channels, stride, remaining = stem.channels, stem.stride, iter(rates)
        for i, stage in enumerate(stages):
            stage_args = dict(
                block_args,
                dilation=stage.dilation,
                dcn=stage.dcn,
                **self.block_options(stage.planes),
            )
            out_channels = stage.planes * self.block.expansion
            blocks = []
            for j in range(stage.num_blocks):
                block_stride = stage.stride if j == 0 else 1
                shortcut = None
                if block_stride != 1 or channels != out_channels:
                    shortcut = downsample(channels, out_channels, block_stride)
                blocks.append(
                    self.block(
                        channels,
                        stage.planes,
                        block_stride,
                        downsample=shortcut,
                        drop_path_rate=next(remaining),
                        **stage_args,
                    )
                )
                channels = out_channels
            stride *= stage.stride
            yield Group({f'layer{i + 1}': Sequential(*blocks)}, channels, stride)


def _check_dcn(
    dcn: ConfigType | None, stage_with_dcn: Sequence[bool], num_stages: int
) -> tuple[bool, ...]:
    check('dcn', dcn, Accepted(is_layer_cfg, "a dict such as dict(type='DCNv2')"), optional=True)
    check('stage_with_dcn', stage_with_dcn, _BOOLS)
    if dcn is None:
        if any(stage_with_dcn):
            warnings.warn(
                f'stage_with_dcn={tuple(stage_with_dcn)} has no effect without dcn', stacklevel=4
            )
        return (False,) * num_stages
    check_per_stage('stage_with_dcn', stage_with_dcn, num_stages, _BOOL)
    if not any(stage_with_dcn):
        raise ValueError(
            f'dcn={dcn} is used in no stage: stage_with_dcn={tuple(stage_with_dcn)} needs a True'
        )
    return tuple(map(bool, stage_with_dcn))


def _plain_stem(
    in_channels: int, channels: int, conv_cfg: ConfigType | None, norm_cfg: ConfigType | None
) -> dict[str, nn.Module]:
    norm_name, norm = build_norm(norm_cfg, channels, postfix=1)
    conv = build_conv(
        conv_cfg, in_channels, channels, 7, stride=2, padding=3, bias=norm_cfg is None
    )
    return {'conv1': conv, norm_name: norm, 'relu': nn.ReLU(inplace=True), 'maxpool': _max_pool()}


def _deep_stem(
    in_channels: int, channels: int, conv_cfg: ConfigType | None, norm_cfg: ConfigType | None
) -> dict[str, nn.Module]:
    layers: list[nn.Module] = []
    for out_channels, stride in ((channels // 2, 2), (channels // 2, 1), (channels, 1)):
        conv_and_norm = conv_norm(
            in_channels, out_channels, 3, stride, conv_cfg=conv_cfg, norm_cfg=norm_cfg
        )
        layers += [*conv_and_norm, nn.ReLU(inplace=True)]
        in_channels = out_channels
    return {'stem': Sequential(*layers), 'maxpool': _max_pool()}


def _max_pool() -> nn.Module:
    return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)


def _downsample(
    in_channels: int,
    out_channels: int,
    stride: int,
    avg_down: bool,
    conv_cfg: ConfigType | None,
    norm_cfg: ConfigType | None,
) -> nn.Module:
    layers: list[nn.Module] = []
    if avg_down:
        pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
        # Something stands here at stride 1, too, for the numbers in the state-dict keys.
        layers.append(pool if stride > 1 else nn.Identity())
        stride = 1
    layers += conv_norm(in_channels, out_channels, 1, stride, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
    return Sequential(*layers)
