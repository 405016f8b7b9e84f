"""The two steps around the product of a masked convolution, in plain PyTorch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def gather_patches(
    image: Tensor, y: Tensor, x: Tensor, kernel_size: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Takes the patch of pixels around some positions only.

    Args:
        image: One feature map, (1, C, H, W).
        y: Rows of the positions, (K,) of int64.
        x: Columns, likewise.
        kernel_size: Rows and columns of a patch.
        padding: Zeros around the map in pixels, (vertical, horizontal).

    Returns:
        (C * rows * columns, K).

    Example:
        >>> import torch
        >>> ramp, first = torch.arange(9.0).view(1, 1, 3, 3), torch.tensor([0])
        >>> gather_patches(ramp, first, first, (3, 3), (1, 1))[:, 0]
        tensor([0., 0., 0., 0., 0., 1., 0., 3., 4.])
    """
    padded = F.pad(image, (padding[1], padding[1], padding[0], padding[0]))
    windows = padded[0].unfold(1, kernel_size[0], 1).unfold(2, kernel_size[1], 1)
    return windows[:, y, x].permute(0, 2, 3, 1).flatten(0, 2)


def scatter_columns(columns: Tensor, y: Tensor, x: Tensor, into: Tensor) -> None:
    """Writes columns of values to their positions of a map, in place.

    Args:
        columns: Values, (C, K).
        y: Rows of the positions, (K,) of int64.
        x: Columns of the positions, likewise.
        into: The map, (1, C, H, W).
    """
    into[0, :, y, x] = columns
