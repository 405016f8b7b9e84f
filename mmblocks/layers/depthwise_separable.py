"""The depthwise separable convolution of MobileNet."""

from __future__ import annotations

from typing import ClassVar

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


class DepthwiseSeparableConv(BaseModule):
    """A depthwise and a pointwise convolution, each with norm and activation, with timm's keys.

    From `MobileNets <https://arxiv.org/abs/1704.04861>`_; mmcv's DepthwiseSeparableConvModule
    computes the same under other keys.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        stride: Stride of the depthwise convolution.
        dilation: Dilation of the depthwise convolution.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        act_cfg: Activation layers.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> DepthwiseSeparableConv(16, 32, stride=2)(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 32, 4, 4])
    """

    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'act1',
        'after_conv2': 'act2',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        dilation: int = 1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU6', inplace=True),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(DepthwiseSeparableConv, locals())
        super().__init__(init_cfg)
        self.conv_dw = build_conv(
            conv_cfg,
            in_channels,
            in_channels,
            3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=in_channels,
            bias=norm_cfg is None,
        )
        self.bn1 = build_norm(norm_cfg, in_channels)[1]
        self.act1 = build_activation_layer(act_cfg)
        self.conv_pw = build_conv(conv_cfg, in_channels, out_channels, 1, bias=norm_cfg is None)
        self.bn2 = build_norm(norm_cfg, out_channels)[1]
        self.act2 = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Runs both convolutions."""
        x = self.act1(self.bn1(self.conv_dw(x)))
        return self.act2(self.bn2(self.conv_pw(x)))
