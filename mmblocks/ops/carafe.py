"""CARAFE's reassembly in plain PyTorch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmblocks.ops.precision import at_least_float32


def carafe(maps: Tensor, kernels: Tensor, kernel_size: int, groups: int, scale: int) -> Tensor:
    """Enlarges maps, each new pixel by a kernel of its own over the old ones around it.

    From `CARAFE <https://arxiv.org/abs/1905.02188>`_.

    Args:
        maps: Feature maps, (N, C, H, W).
        kernels: (N, groups * kernel_size^2, H * scale, W * scale).
        kernel_size: Size of the kernels in pixels, odd.
        groups: Groups of channels that have kernels of their own.
        scale: Factor of the size.

    Returns:
        (N, C, H * scale, W * scale).

    Example:
        >>> import torch
        >>> carafe(torch.ones(1, 4, 3, 3), torch.ones(1, 9, 6, 6), 3, groups=1, scale=2)[0, 0, 0]
        tensor([4., 4., 6., 6., 4., 4.])
    """
    batch, channels, height, width = maps.shape
    taps = kernel_size**2
    around = F.unfold(at_least_float32(maps), kernel_size, padding=kernel_size // 2)
    around = around.view(batch, groups, channels // groups, taps, height, 1, width, 1)
    kernels = kernels.view(batch, groups, 1, taps, height, scale, width, scale)
    new = (around * kernels).sum(3).reshape(batch, channels, height * scale, width * scale)
    return new.to(maps.dtype)
