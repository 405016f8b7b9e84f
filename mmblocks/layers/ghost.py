"""The ghost module and the bottleneck made of it."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule, Sequential
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.se_layer import SqueezeExcite
from mmblocks.layers.shortcut import add_shortcut
from mmblocks.utils.accepted import FROM_ZERO, Accepted, is_count
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig


@MODELS.register_module()
class GhostModule(BaseModule):
    """Half the maps by convolution, the rest from them by a cheap depthwise one.

    From `GhostNet <https://arxiv.org/abs/1911.11907>`_.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel of the primary convolution, in pixels.
        ratio: Output maps per primary map.
        dw_size: Kernel of the cheap depthwise convolution, in pixels.
        stride: Stride of the primary convolution.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        act_cfg: Activation after both parts; None for a linear module.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> GhostModule(16, 24)(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 24, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        ratio: int = 2,
        dw_size: int = 3,
        stride: int = 1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType | None = dict(type='ReLU', inplace=True),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(
            GhostModule, locals(), ratio=Accepted(lambda n: is_count(n, 2), 'an int of at least 2')
        )
        super().__init__(init_cfg)
        self.out_channels = out_channels
        primary = math.ceil(out_channels / ratio)
        cheap = primary * (ratio - 1)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.primary_conv = _conv_norm_act(in_channels, primary, kernel_size, stride, 1, **layers)
        self.cheap_operation = _conv_norm_act(primary, cheap, dw_size, 1, primary, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the primary maps, then the cheap ones."""
        primary = self.primary_conv(x)
        out = torch.cat([primary, self.cheap_operation(primary)], dim=1)
        # Autograd copies what is written into a part of a tensor, so none is taken without need.
        return out if out.size(1) == self.out_channels else out[:, : self.out_channels]


@MODELS.register_module()
class GhostBottleneck(BaseModule):
    """Two ghost modules with a strided depthwise convolution between, beside a shortcut.

    From `GhostNet <https://arxiv.org/abs/1911.11907>`_.

    Args:
        in_channels: Input channels.
        mid_channels: Channels between the ghost modules.
        out_channels: Output channels.
        kernel_size: Kernel of the depthwise convolutions, in pixels.
        stride: Stride of the block; the depthwise convolution is there only if it is > 1.
        se_ratio: Hidden share of the squeeze-and-excitation's channels; 0 for none.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        act_cfg: Activation of the first ghost module; the second one is linear.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> block = GhostBottleneck(16, 48, 24, stride=2, se_ratio=0.25)
        >>> block(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 24, 4, 4])
    """

    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'ghost1',
        'after_conv2': 'ghost2',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        se_ratio: float = 0.0,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(GhostBottleneck, locals(), se_ratio=FROM_ZERO)
        super().__init__(init_cfg)
        layers: ConfigType = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.ghost1 = GhostModule(in_channels, mid_channels, act_cfg=act_cfg, **layers)
        self.conv_dw = self.bn_dw = self.se = self.shortcut = None
        if stride > 1:
            self.conv_dw, self.bn_dw = _conv_norm_act(
                mid_channels, mid_channels, kernel_size, stride, mid_channels, **layers
            )
        if se_ratio:
            squeeze_channels = make_divisible(mid_channels * se_ratio, 4)
            self.se = SqueezeExcite(
                mid_channels, squeeze_channels, gate_cfg=dict(type=nn.Hardsigmoid)
            )
        self.ghost2 = GhostModule(mid_channels, out_channels, act_cfg=None, **layers)
        if stride > 1 or in_channels != out_channels:
            self.shortcut = Sequential(
                *_conv_norm_act(
                    in_channels, in_channels, kernel_size, stride, in_channels, **layers
                ),
                *_conv_norm_act(in_channels, out_channels, 1, 1, 1, **layers),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Runs both branches and adds them."""
        out = self.ghost1(x)
        if self.conv_dw is not None and self.bn_dw is not None:
            out = self.bn_dw(self.conv_dw(out))
        if self.se is not None:
            out = self.se(out)
        out = self.ghost2(out)
        shortcut = x if self.shortcut is None else self.shortcut(x)
        # It joins its parts to a tensor of its own.
        return add_shortcut(out, shortcut, norm=self.ghost2, position=self.ghost2)


def _conv_norm_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    groups: int,
    conv_cfg: ConfigType | None = None,
    norm_cfg: ConfigType | None = dict(type='BN'),
    act_cfg: ConfigType | None = None,
) -> Sequential:
    layers: list[nn.Module] = [
        build_conv(
            conv_cfg,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=norm_cfg is None,
        ),
        build_norm(norm_cfg, out_channels)[1],
    ]
    if act_cfg is not None:
        layers.append(build_activation_layer(act_cfg))
    return Sequential(*layers)
