"""The units of ShuffleNet and ShuffleNetV2."""

from __future__ import annotations

from typing import ClassVar

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from mmblocks.layers.channel_shuffle import channel_shuffle
from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import ConfigType, MultiConfig


class ShuffleUnit(BaseModule):
    """Grouped 1x1 convolutions around a shuffle and a depthwise 3x3, beside a shortcut.

    From `ShuffleNet <https://arxiv.org/abs/1707.01083>`_. With stride 1 the shortcut is the
    identity and is added; with stride 2 it is average pooling, and comes before the
    convolutions' channels.

    Args:
        in_channels: Input channels.
        out_channels: Output channels, those of the shortcut included; a quarter of them are
            between the 1x1 convolutions.
        groups: Groups of the 1x1 convolutions and of the shuffle.
        compress_groups: Groups of the first 1x1 convolution; ``groups`` if left out.
        stride: 1 or 2.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none.
        act_cfg: Activation after the first convolution and at the end of the unit.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: The stride is another one, the channels change without one, or ``groups``
            does not divide the input or output channels of a convolution.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> ShuffleUnit(24, 240, groups=3, stride=2)(torch.rand(1, 24, 8, 8)).shape
        torch.Size([1, 240, 4, 4])
    """

    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'g_conv_1x1_compress',
        'after_conv2': 'depthwise_conv3x3_bn',
        'after_conv3': 'g_conv_1x1_expand',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        groups: int = 3,
        compress_groups: int | None = None,
        stride: int = 1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(ShuffleUnit, locals())
        super().__init__(init_cfg)
        _check_widths('ShuffleUnit', in_channels, out_channels, stride)
        compress_groups = groups if compress_groups is None else compress_groups
        mid_channels = out_channels // 4
        branch_channels = out_channels - in_channels if stride > 1 else out_channels
        if in_channels % compress_groups or mid_channels % groups or branch_channels % groups:
            raise ValueError(
                f'groups={groups} (compress_groups={compress_groups}) of ShuffleUnit with '
                f'in_channels={in_channels}, out_channels={out_channels} and stride={stride}: must '
                f'divide {in_channels} (the first), {mid_channels} and {branch_channels} channels'
            )
        self.groups = groups
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.g_conv_1x1_compress = ConvModule(
            in_channels, mid_channels, 1, groups=compress_groups, act_cfg=act_cfg, **layers
        )
        self.depthwise_conv3x3_bn = _depthwise(mid_channels, stride, **layers)
        self.g_conv_1x1_expand = ConvModule(
            mid_channels, branch_channels, 1, groups=groups, act_cfg=None, **layers
        )
        self.avgpool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else None
        self.act = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and joins the shortcut."""
        out = self.depthwise_conv3x3_bn(self.g_conv_1x1_compress(x))
        if self.groups > 1:
            out = channel_shuffle(out, self.groups)
        out = self.g_conv_1x1_expand(out)
        if self.avgpool is None:
            return self.act(x + out)
        return torch.cat((self.avgpool(x), self.act(out)), dim=1)


class ShuffleUnitV2(BaseModule):
    """Convolutions on one half of the channels, then both halves alternating.

    From `ShuffleNetV2 <https://arxiv.org/abs/1807.11164>`_. With stride 2 both halves are
    convolutions of the whole input.

    Args:
        in_channels: Input channels.
        out_channels: Output channels, an even number.
        stride: 1 or 2.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none.
        act_cfg: Activation after the 1x1 convolutions; None for none.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: The stride is another one, the channels change without one, or
            ``out_channels`` is odd.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> ShuffleUnitV2(24, 116, stride=2)(torch.rand(1, 24, 8, 8)).shape
        torch.Size([1, 116, 4, 4])
    """

    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'branch2.0',
        'after_conv2': 'branch2.1',
        'after_conv3': 'branch2.2',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType | None = dict(type='ReLU'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(ShuffleUnitV2, locals())
        super().__init__(init_cfg)
        _check_widths('ShuffleUnitV2', in_channels, out_channels, stride)
        if out_channels % 2:
            raise ValueError(f'out_channels={out_channels} of ShuffleUnitV2 must be even')
        half = out_channels // 2
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.branch1 = None
        if stride > 1:
            self.branch1 = Sequential(
                _depthwise(in_channels, stride, **layers),
                ConvModule(in_channels, half, 1, act_cfg=act_cfg, **layers),
            )
        self.branch2 = Sequential(
            ConvModule(in_channels if stride > 1 else half, half, 1, act_cfg=act_cfg, **layers),
            _depthwise(half, stride, **layers),
            ConvModule(half, half, 1, act_cfg=act_cfg, **layers),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Runs the branches and shuffles their channels."""
        if self.branch1 is not None:
            return _interleave(self.branch1(x), self.branch2(x))
        # Chunks and not slices: their gradients are put together in one copy.
        left, right = x.chunk(2, dim=1)
        return _interleave(left, self.branch2(right))


def _check_widths(unit: str, in_channels: int, out_channels: int, stride: int) -> None:
    check_choice('stride', stride, (1, 2))
    if stride == 1 and in_channels != out_channels:
        raise ValueError(
            f'in_channels={in_channels} and out_channels={out_channels} of {unit} must be the '
            'same with stride=1'
        )


def _depthwise(channels: int, stride: int, **layers: ConfigType | None) -> ConvModule:
    return ConvModule(
        channels, channels, 3, stride, padding=1, groups=channels, act_cfg=None, **layers
    )


# A graph tracer has no answer to the question for the memory format, so it takes this as one node.
@torch.fx.wrap
def _interleave(x: Tensor, y: Tensor) -> Tensor:
    """The shuffle of two halves in one copy: x's first channel, y's first, x's second, ..."""
    if y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous():
        x, y = x.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1)
        return torch.stack((x, y), dim=4).flatten(3).permute(0, 3, 1, 2)
    return torch.stack((x, y), dim=2).flatten(1, 2)
