"""MobileNetV1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.conv_norm import conv_norm_act
from mmblocks.backbones.init_cfg import DEPTHWISE_INIT_CFG
from mmblocks.backbones.output_stride import BlockStride, limit_strides
from mmblocks.backbones.variant import Variant
from mmblocks.layers.depthwise_separable import DepthwiseSeparableConv
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import drop_parts, register_key_mappings


class _Stage(NamedTuple):
    channels: int
    num_blocks: int
    stride: int


@MODELS.register_module()
class MobileNetV1(BaseBackbone):
    """`MobileNets <https://arxiv.org/abs/1704.04861>`_: depthwise separable convolutions.

    Five groups follow the stem (``blocks.0`` to ``blocks.4``); keys are timm's, whose weights
    load as they are. Channels are rounded to multiples of 8.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        widen_factor: Factor of all channel numbers; published are 0.25, 0.5, 0.75 and 1.0.
        out_indices: Which of the groups 0 to 4 give an output. The default is those with the
            strides 4, 8, 16 and 32.
        head_conv: Add the 1x1 convolution of timm's ``mobilenetv1_100h`` as a sixth group, 5,
            which then is an output by default in place of 4.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> net = MobileNetV1(widen_factor=0.25)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 32, 16, 16), (1, 64, 8, 8), (1, 128, 4, 4), (1, 256, 2, 2)]
    """

    variants = tuple(
        Variant(f'MobileNetV1 {factor}', dict(widen_factor=factor), ('timm',))
        for factor in (0.25, 0.5, 0.75, 1.0)
    )
    default_init_cfg = DEPTHWISE_INIT_CFG
    stem_channels: ClassVar[int] = 32
    stages: ClassVar[tuple[_Stage, ...]] = (
        _Stage(64, 1, 1),
        _Stage(128, 2, 2),
        _Stage(256, 2, 2),
        _Stage(512, 6, 2),
        _Stage(1024, 2, 2),
    )

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: int | Sequence[int] | None = None,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU6', inplace=True),
        in_channels: int = 3,
        output_stride: int = 32,
        head_conv: bool = False,
        **kwargs: Any,
    ) -> None:
        check_arguments(MobileNetV1, locals())
        if out_indices is None:
            out_indices = (1, 2, 3, 5 if head_conv else 4)
        super().__init__(out_indices, **kwargs)
        self.widen_factor = widen_factor
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        strides = [s.stride if j == 0 else 1 for s in self.stages for j in range(s.num_blocks)]
        blocks = limit_strides(strides, output_stride)
        groups = self._groups(in_channels, blocks, head_conv, layers)
        self.add_groups(groups, len(self.stages) + head_conv)
        register_key_mappings(self, [drop_parts('timm', 'classifier')])

    def _channels(self, base: int) -> int:
        return make_divisible(base * self.widen_factor, 8)

    def _groups(
        self, in_channels: int, strides: list[BlockStride], head_conv: bool, layers: ConfigType
    ) -> Iterator[Group]:
        channels = self._channels(self.stem_channels)
        stem = conv_norm_act(('conv_stem', 'bn1', 'act1'), in_channels, channels, 3, 2, **layers)
        yield Group(stem, channels, 2, is_output=False)
        remaining = iter(strides)
        for i, stage in enumerate(self.stages):
            out_channels = self._channels(stage.channels)
            blocks = []
            for _ in range(stage.num_blocks):
                stride, dilation, total = next(remaining)
                blocks.append(
                    DepthwiseSeparableConv(channels, out_channels, stride, dilation, **layers)
                )
                channels = out_channels
            yield Group({f'blocks.{i}': Sequential(*blocks)}, channels, total)
        if head_conv:
            # timm's: as wide as the last stage, but not narrowed with it.
            out_channels = max(stage.channels, channels)
            head = conv_norm_act(('conv_head', 'bn2', 'act2'), channels, out_channels, 1, **layers)
            yield Group(head, out_channels, total)
