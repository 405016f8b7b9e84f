"""Levels on top of a feature pyramid."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import MultiConfig


class TopBlock(BaseModule):
    """Makes coarser levels from one map; FPN builds it and fills in the channels.

    Attributes:
        num_levels: Number of maps that it makes.
        source: The map that it starts from: 'on_input' (the last one of the backbone),
            'on_lateral' (the last lateral) or 'on_output' (the pyramid's last level).
    """

    num_levels: ClassVar[int]
    source: str


@MODELS.register_module()
class LastLevelMaxPool(TopBlock):
    """One level, every second pixel of the last one: P6 of `FPN <https://arxiv.org/abs/1612.03144>`_.

    Args:
        in_channels: Channels of the source.
        out_channels: Channels of the pyramid.

    Shape:
        (N, C, H, W) to one map (N, C, ceil(H / 2), ceil(W / 2)).

    Example:
        >>> import torch
        >>> LastLevelMaxPool(8, 8)(torch.rand(1, 8, 5, 7))[0].shape
        torch.Size([1, 8, 3, 4])
    """

    num_levels = 1
    source = 'on_output'

    def __init__(self, in_channels: int, out_channels: int) -> None:
        check_arguments(LastLevelMaxPool, locals())
        super().__init__()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Makes the level."""
        return [F.max_pool2d(x, kernel_size=1, stride=2)]


@MODELS.register_module()
class LastLevelP6P7(TopBlock):
    """Two levels by strided 3x3 convolutions, as in `RetinaNet <https://arxiv.org/abs/1708.02002>`_.

    P6 comes from the source, P7 from the ReLU of P6, as in torchvision and detectron2.

    Args:
        in_channels: Channels of the source.
        out_channels: Channels of the pyramid.
        source: 'on_input' (C5, as in the paper), 'on_lateral' or 'on_output' (P5).
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / 2), ceil(W / 2)) and half of that.

    Raises:
        ValueError: ``source`` is none of the three.

    Example:
        >>> import torch
        >>> [tuple(x.shape) for x in LastLevelP6P7(16, 8)(torch.rand(1, 16, 5, 7))]
        [(1, 8, 3, 4), (1, 8, 2, 2)]
    """

    num_levels = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        source: str = 'on_input',
        init_cfg: MultiConfig | None = dict(type='Xavier', layer='Conv2d', distribution='uniform'),
    ) -> None:
        check_arguments(LastLevelP6P7, locals())
        check_choice('source', source, ('on_input', 'on_lateral', 'on_output'))
        super().__init__(init_cfg)
        self.source = source
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Makes the levels, finer one first."""
        p6 = self.p6(x)
        return [p6, self.p7(F.relu(p6))]
