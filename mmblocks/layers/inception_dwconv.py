"""The depthwise convolution of InceptionNeXt."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.conv import build_conv
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


@MODELS.register_module()
class InceptionDWConv2d(BaseModule):
    """A large depthwise kernel, taken apart: a square, a wide and a high one, and the identity.

    From `InceptionNeXt <https://arxiv.org/abs/2303.16900>`_; keys are timm's. Each kernel has its
    own share of the channels, in this order after those that stay as they are.

    Args:
        in_channels: Channels of input and output.
        square_kernel_size: Height and width of the square kernel in pixels, odd.
        band_kernel_size: Width of the wide and height of the high kernel in pixels, odd.
        branch_ratio: Share of the channels that each of the three kernels has, up to a third.
        dilation: Dilation of all kernels.
        conv_cfg: Convolution layers; None for Conv2d.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to the same.

    Raises:
        ValueError: A kernel is even, or ``branch_ratio`` leaves a kernel without channels or
            asks for more than there are.

    Example:
        >>> InceptionDWConv2d(64)(torch.rand(1, 64, 8, 8)).shape
        torch.Size([1, 64, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        square_kernel_size: int = 3,
        band_kernel_size: int = 11,
        branch_ratio: float = 0.125,
        dilation: int = 1,
        conv_cfg: ConfigType | None = None,
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(InceptionDWConv2d, locals())
        super().__init__(init_cfg)
        channels = int(in_channels * branch_ratio)
        if channels < 1 or 3 * channels > in_channels:
            raise ValueError(
                f'branch_ratio={branch_ratio!r} of {in_channels} channels gives each of the three '
                f'kernels {channels}: must be at least 1, and at most a third of the channels'
            )

        def depthwise_conv(rows: int, columns: int) -> nn.Module:
            return build_conv(
                conv_cfg,
                channels,
                channels,
                (rows, columns),
                padding=(dilation * (rows // 2), dilation * (columns // 2)),
                dilation=dilation,
                groups=channels,
            )

        self.dwconv_hw = depthwise_conv(square_kernel_size, square_kernel_size)
        self.dwconv_w = depthwise_conv(1, band_kernel_size)
        self.dwconv_h = depthwise_conv(band_kernel_size, 1)
        self.split_sizes = (in_channels - 3 * channels, channels, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Runs each kernel on its channels."""
        same, square, wide, high = x.split(self.split_sizes, dim=1)
        convolved = (self.dwconv_hw(square), self.dwconv_w(wide), self.dwconv_h(high))
        return torch.cat((same, *convolved), dim=1)
