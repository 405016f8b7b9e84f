"""The inverted residual of MobileNetV2 and its successors."""

from __future__ import annotations

from typing import ClassVar

from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.se_layer import SELayer
from mmblocks.layers.shortcut import add_shortcut
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


@MODELS.register_module()
class InvertedResidual(BaseModule):
    """Expansion, depthwise convolution and a linear projection, beside a shortcut.

    From `MobileNetV2 <https://arxiv.org/abs/1801.04381>`_; the squeeze-and-excitation between
    the last two is `MobileNetV3's <https://arxiv.org/abs/1905.02244>`_. Keys are mmdet's. The
    shortcut is there where input and output have the same shape.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        mid_channels: Channels of the depthwise convolution. The expansion is left out where
            they are the input's.
        kernel_size: Kernel of the depthwise convolution, in pixels.
        stride: Stride of the depthwise convolution.
        se_cfg: Arguments of SELayer, ``channels`` not needed; None for no
            squeeze-and-excitation.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        act_cfg: Activation of expansion and depthwise convolution; None for none.
        drop_path_rate: Share of the samples that skip the block in training, 0 to 1.
        init_cfg: MMEngine's initialisation config.
        dilation: Dilation of the depthwise convolution.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> block = InvertedResidual(16, 24, 96, stride=2, se_cfg=dict(ratio=4))
        >>> block(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 24, 4, 4])
    """

    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'expand_conv',
        'after_conv2': 'depthwise_conv',
        'after_conv3': 'linear_conv',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        se_cfg: ConfigType | None = None,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType | None = dict(type='ReLU'),
        drop_path_rate: float = 0.0,
        init_cfg: MultiConfig | None = None,
        dilation: int = 1,
    ) -> None:
        check_arguments(InvertedResidual, locals())
        super().__init__(init_cfg)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.expand_conv = self.se = None
        if mid_channels != in_channels:
            self.expand_conv = ConvModule(in_channels, mid_channels, 1, act_cfg=act_cfg, **layers)
        self.depthwise_conv = ConvModule(
            mid_channels,
            mid_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=mid_channels,
            act_cfg=act_cfg,
            **layers,
        )
        if se_cfg is not None:
            self.se = SELayer(**{'channels': mid_channels, **se_cfg})
        self.linear_conv = ConvModule(mid_channels, out_channels, 1, act_cfg=None, **layers)
        self.with_shortcut = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        out = x if self.expand_conv is None else self.expand_conv(x)
        out = self.depthwise_conv(out)
        if self.se is not None:
            out = self.se(out)
        out = self.linear_conv(out)
        if not self.with_shortcut:
            return out
        return add_shortcut(self.drop_path(out), x, self.linear_conv.norm, self.linear_conv)
