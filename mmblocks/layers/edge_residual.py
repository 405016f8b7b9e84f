"""The edge residual of EfficientNet-EdgeTPU: an inverted residual with its ends fused."""

from __future__ import annotations

from typing import ClassVar

from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.se_layer import SELayer
from mmblocks.layers.shortcut import add_shortcut
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


class EdgeResidual(BaseModule):
    """A full convolution that expands and a linear projection, beside a shortcut.

    From `Accelerator-aware neural network design using AutoML
    <https://arxiv.org/abs/2003.02838>`_; known as fused MBConv, too. It is faster than the
    inverted residual where a depthwise convolution leaves the hardware idle. Keys are mmdet's; as
    in mmpretrain and timm the stride is the first convolution's, where mmdet has it on the
    projection, which skips three of four pixels. The shortcut is there where input and output
    have the same shape.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        mid_channels: Channels between the two convolutions.
        kernel_size: Kernel of the first convolution, in pixels.
        stride: Stride of the first convolution.
        se_cfg: Arguments of SELayer, ``channels`` not needed; None for no
            squeeze-and-excitation.
        with_residual: Whether there may be a shortcut.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        act_cfg: Activation of the first convolution; None for none.
        drop_path_rate: Share of the samples that skip the block in training, 0 to 1.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> EdgeResidual(16, 24, 96, stride=2)(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 24, 4, 4])
    """

    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'conv1',
        'after_conv2': 'conv2',
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
        with_residual: bool = True,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType | None = dict(type='ReLU'),
        drop_path_rate: float = 0.0,
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(EdgeResidual, locals())
        super().__init__(init_cfg)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.conv1 = ConvModule(
            in_channels,
            mid_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            act_cfg=act_cfg,
            **layers,
        )
        self.se = None if se_cfg is None else SELayer(**{'channels': mid_channels, **se_cfg})
        self.conv2 = ConvModule(mid_channels, out_channels, 1, act_cfg=None, **layers)
        self.with_shortcut = with_residual and stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        out = self.conv1(x)
        if self.se is not None:
            out = self.se(out)
        out = self.conv2(out)
        if not self.with_shortcut:
            return out
        return add_shortcut(self.drop_path(out), x, self.conv2.norm, self.conv2)
