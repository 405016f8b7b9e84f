"""Spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmblocks.layers.conv_module import ConvModule
from mmblocks.utils.accepted import ODD, is_list_of
from mmblocks.utils.checks import check_arguments, shown
from mmblocks.utils.types import ConfigType, MultiConfig


def checked_windows(kernel_sizes: int | Sequence[int], argument: str) -> tuple[int, ...]:
    """Checks that pooling over the windows keeps the size of a map.

    Args:
        kernel_sizes: Windows in pixels.
        argument: Name of the argument, for the error message.

    Returns:
        The windows.

    Raises:
        ValueError: A window is even or below 1.

    Example:
        >>> checked_windows([5, 9], 'kernel_sizes')
        (5, 9)
    """
    sizes: Any = (kernel_sizes,) if ODD.fits(kernel_sizes) else kernel_sizes
    if sizes != () and not is_list_of(ODD.fits, sizes):
        raise ValueError(
            f'{argument}={shown(kernel_sizes)}: must be odd numbers, so that the maps keep their '
            'size'
        )
    return tuple(sizes)


class SPPBottleneck(BaseModule):
    """Max pooling over windows of several sizes, side by side, between two 1x1 convolutions.

    From `Spatial Pyramid Pooling <https://arxiv.org/abs/1406.4729>`_, in the form of `YOLOv3-SPP
    <https://github.com/AlexeyAB/darknet>`_ that keeps the size of the map. Keys are mmdet's.

    A larger window is pooled from the next smaller one's result, which has exactly the same
    maxima at a fraction of the cost.

    Args:
        in_channels: Input channels; half of them are pooled.
        out_channels: Output channels.
        kernel_sizes: Windows in pixels, odd numbers.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none.
        act_cfg: Activation layers; None for none.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: A window is even or below 1.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, H, W).

    Example:
        >>> SPPBottleneck(16, 24)(torch.rand(1, 16, 7, 5)).shape
        torch.Size([1, 24, 7, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg: ConfigType | None = dict(type='Swish'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(SPPBottleneck, locals())
        super().__init__(init_cfg)
        self.kernel_sizes = checked_windows(kernel_sizes, 'kernel_sizes')
        mid_channels = in_channels // 2
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(in_channels, mid_channels, 1, **layers)
        pooled_channels = mid_channels * (len(self.kernel_sizes) + 1)
        self.conv2 = ConvModule(pooled_channels, out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """Pools the narrowed map and stacks it with the results."""
        x = self.conv1(x)
        pooled, last, reached = {}, x, 1
        for size in sorted(set(self.kernel_sizes)):
            # The maximum over windows of maxima reaches as far as both together.
            step = size - reached + 1
            last = F.max_pool2d(last, step, stride=1, padding=step // 2)
            pooled[size], reached = last, size
        return self.conv2(torch.cat([x, *(pooled[size] for size in self.kernel_sizes)], dim=1))
