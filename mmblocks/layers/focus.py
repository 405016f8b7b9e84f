"""The focus layer."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmblocks.layers.conv_module import ConvModule
from mmblocks.utils.accepted import COUNT
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


class Focus(BaseModule):
    """Every second pixel of every second row as channels of their own, then a convolution.

    From `YOLOv5 <https://github.com/ultralytics/yolov5>`_; halves the size and loses nothing. Keys
    are mmdet's. A row or column of zeros completes images of odd height or width.

    Args:
        in_channels: Channels of the image.
        out_channels: Output channels.
        kernel_size: Kernel of the convolution, in pixels of the halved image.
        stride: Stride of the convolution.
        conv_cfg: Convolution layer; None for Conv2d.
        norm_cfg: Norm layer; None for none.
        act_cfg: Activation; None for none.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to
        (N, out_channels, ceil(H / 2 / stride), ceil(W / 2 / stride)), for odd kernels.

    Example:
        >>> Focus(3, 16, kernel_size=3)(torch.rand(1, 3, 64, 65)).shape
        torch.Size([1, 16, 32, 33])
    """

    # Of the image, in the input of the convolution.
    pixels_per_channel: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg: ConfigType | None = dict(type='Swish'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(Focus, locals(), kernel_size=COUNT)
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.conv = ConvModule(
            in_channels * self.pixels_per_channel,
            out_channels,
            kernel_size,
            stride,
            padding=(kernel_size - 1) // 2,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Gathers the pixels, left column first, and convolves them."""
        # One more row and column for every size, not just for odd ones: asking for the size
        # would tie an exported net to one parity.
        x = F.pad(x, (0, 1, 0, 1))
        upper, lower = x[..., :-1:2, :], x[..., 1::2, :]
        corners = (upper[..., :-1:2], lower[..., :-1:2], upper[..., 1::2], lower[..., 1::2])
        return self.conv(torch.cat(corners, dim=1))
