"""Overlaps of boxes in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from mmblocks.ops.precision import at_least_float32


def box_overlaps(
    first: Tensor, second: Tensor, mode: str = 'iou', aligned: bool = False, offset: int = 0
) -> Tensor:
    """Says how much boxes overlap.

    Args:
        first: Corners (x1, y1, x2, y2) in pixels, (M, 4).
        second: Others, (N, 4).
        mode: 'iou' for intersection over union, 'iof' over the area of the first box.
        aligned: Whether the boxes are compared pairwise (M equals N), not each with each.
        offset: Width is x2 - x1 + offset: 0, or 1 where corners are whole pixels.

    Returns:
        (M, N), or (M,) for pairs; 0 where both boxes are empty.

    Example:
        >>> box_overlaps(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]]))
        tensor([[0.3333]])
    """
    dtype, first, second = first.dtype, at_least_float32(first), at_least_float32(second)
    if not aligned:
        first, second = first[:, None], second[None]
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    intersection = (high - low + offset).clamp(min=0).prod(-1)
    area = (first[..., 2:] - first[..., :2] + offset).prod(-1)
    whole = area.expand_as(intersection)
    if mode == 'iou':
        whole = area + (second[..., 2:] - second[..., :2] + offset).prod(-1) - intersection
    whole = whole.clamp(min=max(offset, torch.finfo(whole.dtype).tiny))
    return (intersection / whole).to(dtype)
