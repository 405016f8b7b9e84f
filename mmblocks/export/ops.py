"""What a traced graph calls as one op: NMS that marks, and RoIAlign over several maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmblocks.ops.nms import nms
from mmblocks.ops.roi_align import average


@torch.library.custom_op('mmblocks::nms_mask', mutates_args=())
def nms_mask(boxes: Tensor, scores: Tensor, iou_threshold: float, max_num: int) -> Tensor:
    """Marks the boxes that non-maximum suppression keeps, of those with a score above 0.

    Args:
        boxes: Corners (x1, y1, x2, y2) in pixels, (N, 4).
        scores: Scores, (N,).
        iou_threshold: A box goes if its IoU with a better one that is kept is above this.
        max_num: How many to keep at most.

    Returns:
        Whether a box is kept, (N,) of bool.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]])
        >>> nms_mask(boxes, torch.tensor([0.8, 0.9, 0.0]), 0.5, 100)
        tensor([False,  True, False])
    """
    kept = torch.zeros_like(scores, dtype=torch.bool)
    some = (scores > 0).nonzero()[:, 0]
    kept[some[nms(boxes[some], scores[some], iou_threshold)[:max_num]]] = True
    return kept


@nms_mask.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, max_num: int) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


@torch.library.custom_op('mmblocks::roi_align_levels', mutates_args=())
def roi_align_levels(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    size: Sequence[int],
    scales: Sequence[float],
    ratio: int,
    aligned: bool,
) -> Tensor:
    """Averages the samples in each bin of each region, from the map that each region belongs to.

    Args:
        maps: Feature maps of the levels, (N, C, H, W) each.
        rois: Image of the batch and corners in pixels of the image, (R, 5).
        levels: Which map, (R,) of int64.
        size: Bins per column and per row of a region.
        scales: Pixels of each map per pixel of the image.
        ratio: Samples per bin and direction; 0: so many that they are at most a pixel apart.
        aligned: Whether the centre of the first pixel is at 0.5, not at 0.

    Returns:
        (R, C, *size).
    """
    out = maps[0].new_zeros(len(rois), maps[0].shape[1], *size)
    for i, (level, scale) in enumerate(zip(maps, scales, strict=True)):
        some = (levels == i).nonzero()[:, 0]
        out[some] = average(level, rois[some], size, scale, ratio, aligned)
    return out


@roi_align_levels.register_fake
def _(maps: Sequence[Tensor], rois: Tensor, levels: Tensor, size: Sequence[int], *_: Any) -> Tensor:
    return maps[0].new_empty(rois.shape[0], maps[0].shape[1], *size)
