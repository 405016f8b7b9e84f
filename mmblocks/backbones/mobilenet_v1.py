"""MobileNetV1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from mmcv.cnn import build_activation_layer
from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.depthwise_init import DEPTHWISE_INIT_CFG
from mmblocks.backbones.output_stride import BlockStride, limit_strides
from mmblocks.layers.conv import build_conv
from mmblocks.layers.depthwise_separable import DepthwiseSeparableConv
from mmblocks.layers.norm import build_norm
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import drop_parts, register_key_mappings


class _Stage(NamedTuple):
    channels: int
    num_blocks: int
    stride: int


@MODELS.register_module()
class MobileNetV1(BaseBackbone):
    """`MobileNets <https://arxiv.org/abs/1704.04861>`_: depthwise separable convolutions.

    Five groups follow the stem (``blocks.0`` to ``blocks.4``); keys are timm's, whose weights
    load as they are. Channels are rounded to multiples of 8. Parts behind the last output are
    not built.

    Args:
        widen_factor: Factor of all channel numbers; published are 0.25, 0.5, 0.75 and 1.0.
        out_indices: Which of the groups 0 to 4 give an output. The default is those with the
            strides 4, 8, 16 and 32.
        frozen_stages: -1 freezes nothing, 0 the stem, k the stem and ``blocks.0`` to
            ``blocks.(k - 1)``.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, behind convolutions with bias.
        act_cfg: Activation layers.
        norm_eval: Keep BatchNorm in eval mode during training.
        with_cp: Recompute each block's activations in backward to save memory.
        init_cfg: MMEngine's initialisation config; default: Kaiming for the convolutions.
        in_channels: Channels of the images.
        output_stride: Most image pixels per pixel of any map; with 8 or 16, strides past it
            become dilations, for dense prediction.
        head_conv: Add the 1x1 convolution of timm's ``mobilenetv1_100h`` as a sixth group, 5,
            which then is an output by default in place of 4.
        plugins: Modules to insert; see :class:`BaseBackbone`.
        replace_convs: Layers to put in place of convolutions; see :class:`BaseBackbone`.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import torch
        >>> net = MobileNetV1(widen_factor=0.25)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 32, 16, 16), (1, 64, 8, 8), (1, 128, 4, 4), (1, 256, 2, 2)]
    """

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
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU6', inplace=True),
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        output_stride: int = 32,
        head_conv: bool = False,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(MobileNetV1, locals())
        if out_indices is None:
            out_indices = (1, 2, 3, 5 if head_conv else 4)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
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
        stem = _conv_norm_act(('conv_stem', 'bn1', 'act1'), in_channels, channels, 3, 2, **layers)
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
            head = _conv_norm_act(
                ('conv_head', 'bn2', 'act2'), channels, out_channels, 1, 1, **layers
            )
            yield Group(head, out_channels, total)


def _conv_norm_act(
    names: tuple[str, str, str],
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    conv_cfg: ConfigType | None,
    norm_cfg: ConfigType,
    act_cfg: ConfigType,
) -> dict[str, nn.Module]:
    conv = build_conv(
        conv_cfg,
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        bias=norm_cfg is None,
    )
    norm = build_norm(norm_cfg, out_channels)[1]
    return dict(zip(names, (conv, norm, build_activation_layer(act_cfg)), strict=True))
