"""MobileNetV2."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.init_cfg import DEPTHWISE_INIT_CFG, resolve_init_cfg
from mmblocks.backbones.mobilenet_keys import BlockNames, mobilenet_v2_key_mappings
from mmblocks.backbones.output_stride import BlockStride, limit_strides
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.inverted_residual import InvertedResidual
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import register_key_mappings


class _Stage(NamedTuple):
    expand_ratio: int
    channels: int
    num_blocks: int
    stride: int


@MODELS.register_module()
class MobileNetV2(BaseBackbone):
    """`MobileNetV2 <https://arxiv.org/abs/1801.04381>`_: inverted residuals.

    Arguments, defaults and state-dict keys are mmdet's: eight groups follow the stem, ``layer1``
    to ``layer7`` and the 1x1 convolution ``conv2``. Weights of torchvision, timm and mmpretrain
    load as they are.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        widen_factor: Factor of the channel numbers, which are rounded to multiples of 8;
            ``conv2`` keeps its 1280 below 1.0.
        out_indices: Which of the groups 0 to 7 give an output. The default is the last one of
            each stride: 4, 8, 16 and 32; mmpretrain's is (7,).
        deepen_factor: Factor of each stage's number of blocks, rounded up.
        fix_stem_head: Leave the widths of stem and ``conv2`` and the depths of the first and
            last stage as they are at factors of 1. With it, factors of 1.1 and 1.2 (wide, deep)
            make timm's ``mobilenetv2_110d``; 1.2 and 1.4 its ``mobilenetv2_120d``.

    Example:
        >>> import torch
        >>> net = MobileNetV2(widen_factor=0.5, out_indices=(1, 2, 4, 6))
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 16, 16, 16), (1, 16, 8, 8), (1, 48, 4, 4), (1, 160, 2, 2)]
    """

    variants = tuple(
        Variant(
            f'MobileNetV2 {factor}',
            dict(widen_factor=factor),
            ('mmdet', 'torchvision', 'mmpretrain', 'timm'),
        )
        for factor in (0.5, 1.0, 1.4)
    )
    default_init_cfg = DEPTHWISE_INIT_CFG
    stem_channels: ClassVar[int] = 32
    head_channels: ClassVar[int] = 1280
    stages: ClassVar[tuple[_Stage, ...]] = (
        _Stage(1, 16, 1, 1),
        _Stage(6, 24, 2, 2),
        _Stage(6, 32, 3, 2),
        _Stage(6, 64, 4, 2),
        _Stage(6, 96, 3, 1),
        _Stage(6, 160, 3, 2),
        _Stage(6, 320, 1, 1),
    )

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: int | Sequence[int] = (1, 2, 4, 7),
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType | None = dict(type='ReLU6'),
        norm_eval: bool = False,
        with_cp: bool | str = False,
        pretrained: str | None = None,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        output_stride: int = 32,
        deepen_factor: float = 1.0,
        fix_stem_head: bool = False,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(MobileNetV2, locals())
        init_cfg = resolve_init_cfg(init_cfg, pretrained)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        ends_factor = 1.0 if fix_stem_head else widen_factor
        stem_channels = make_divisible(self.stem_channels * ends_factor, 8)
        head_channels = make_divisible(self.head_channels * max(1.0, ends_factor), 8)
        stages = self._scaled_stages(widen_factor, deepen_factor, fix_stem_head)
        strides = [s.stride if j == 0 else 1 for s in stages for j in range(s.num_blocks)]
        blocks = limit_strides(strides, output_stride)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        groups = self._groups(in_channels, stem_channels, stages, blocks, head_channels, layers)
        self.add_groups(groups, len(stages) + 1)
        register_key_mappings(self, mobilenet_v2_key_mappings(_block_names(stages)))

    def _scaled_stages(
        self, widen_factor: float, deepen_factor: float, fix_first_last: bool
    ) -> list[_Stage]:
        scaled = []
        for i, stage in enumerate(self.stages):
            fixed = fix_first_last and i in (0, len(self.stages) - 1)
            scaled.append(
                stage._replace(
                    channels=make_divisible(stage.channels * widen_factor, 8),
                    num_blocks=math.ceil(stage.num_blocks * (1.0 if fixed else deepen_factor)),
                )
            )
        return scaled

    def _groups(
        self,
        in_channels: int,
        channels: int,
        stages: list[_Stage],
        strides: list[BlockStride],
        head_channels: int,
        layers: ConfigType,
    ) -> Iterator[Group]:
        stem = ConvModule(in_channels, channels, 3, stride=2, padding=1, **layers)
        yield Group({'conv1': stem}, channels, 2, is_output=False)
        remaining = iter(strides)
        for i, stage in enumerate(stages):
            blocks = []
            for _ in range(stage.num_blocks):
                stride, dilation, total = next(remaining)
                blocks.append(
                    InvertedResidual(
                        channels,
                        stage.channels,
                        channels * stage.expand_ratio,
                        stride=stride,
                        dilation=dilation,
                        **layers,
                    )
                )
                channels = stage.channels
            yield Group({f'layer{i + 1}': Sequential(*blocks)}, channels, total)
        yield Group(
            {'conv2': ConvModule(channels, head_channels, 1, **layers)}, head_channels, total
        )


def _block_names(stages: Sequence[_Stage]) -> list[BlockNames]:
    places = [(i, j, stage) for i, stage in enumerate(stages) for j in range(stage.num_blocks)]
    return [
        BlockNames(
            ours=f'layer{i + 1}.{j}',
            timm=f'blocks.{i}.{j}',
            position=position,
            expands=stage.expand_ratio != 1,
        )
        for position, (i, j, stage) in enumerate(places, 1)
    ]
