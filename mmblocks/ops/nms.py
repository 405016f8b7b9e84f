"""Non-maximum suppression in plain PyTorch: hard, soft, and with the boxes that each one beat."""

from __future__ import annotations

import torch
from torch import Tensor

from mmblocks.ops.precision import at_least_float32

# Boxes that are compared with all later ones at a time: few enough for their overlaps to stay in
# the cache, enough of them to make the work between two calls of Python worth while.
_BLOCK = 256


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Keeps the best of each bunch of overlapping boxes.

    Args:
        boxes: Corners (x1, y1, x2, y2) in pixels, (N, 4).
        scores: Scores, (N,). Of equal ones the first comes first.
        iou_threshold: A box goes if its IoU with a better one that is kept is above this.
        offset: Width is x2 - x1 + offset: 0, or 1 where corners are whole pixels.

    Returns:
        Indices of the kept boxes, (K,) of int64, best score first.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]])
        >>> nms(boxes, torch.tensor([0.8, 0.9, 0.5]), iou_threshold=0.5)
        tensor([1, 2])
    """
    order = scores.sort(descending=True, stable=True).indices
    boxes = at_least_float32(boxes)[order]
    kept = []
    rest = torch.arange(len(order), device=order.device)
    while rest.numel():
        head, tail = rest[:_BLOCK], rest[_BLOCK:]
        survives = _best_of_block(_overlaps(boxes[head], boxes[head], offset) > iou_threshold)
        head = head[survives]
        kept.append(head)
        if tail.numel():
            beaten = (_overlaps(boxes[head], boxes[tail], offset) > iou_threshold).any(dim=0)
            rest = tail[~beaten]
        else:
            rest = tail
    return order[torch.cat(kept)] if kept else order


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """Lowers the scores of boxes by their overlap with better ones, one after the other.

    From `Soft-NMS <https://arxiv.org/abs/1704.04503>`_.

    Args:
        boxes: Corners (x1, y1, x2, y2) in pixels, (N, 4).
        scores: Scores, (N,).
        iou_threshold: From this IoU on, methods 0 and 1 act.
        sigma: Width of method 2, which multiplies by exp(-IoU^2 / sigma).
        min_score: A box whose score falls below this goes.
        method: 0 drops the box, 1 multiplies its score by 1 - IoU, 2 by a Gaussian.
        offset: As for :func:`nms`.

    Returns:
        Boxes with their new scores, (K, 5), and their indices, (K,) of int64; best score first.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])
        >>> scores = torch.tensor([0.5, 0.8])
        >>> soft_nms(boxes, scores, 0.3, sigma=0.5, min_score=0.01, method=1)[0][:, 4]
        tensor([0.8000, 0.2500])
    """
    boxes, scores = at_least_float32(boxes), at_least_float32(scores).clone()
    left = torch.arange(len(scores), device=scores.device)
    dets, indices = [], []
    while left.numel():
        best = left[scores[left].argmax()]
        dets.append(torch.cat([boxes[best], scores[best, None]]))
        indices.append(best)
        left = left[left != best]
        # Two boxes without area have 0 / 0 of each other.
        iou = _overlaps(boxes[best, None], boxes[left], offset)[0].nan_to_num(0.0)
        if method == 2:
            weight = (-iou.square() / sigma).exp()
        else:
            weight = torch.where(iou >= iou_threshold, 1 - iou if method else 0.0, 1.0)
        scores[left] *= weight
        left = left[scores[left] >= min_score]
    if not dets:
        return boxes.new_zeros(0, 5), left
    return torch.stack(dets), torch.stack(indices)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups boxes by the kept one that beat them.

    Args:
        dets: Corners in pixels and a score, (N, 5).
        iou_threshold: A box goes if its IoU with a better one that is kept is this or above.

    Returns:
        A list per kept box, best score first: its index, then those that it beat.

    Example:
        >>> dets = torch.tensor([[0.0, 0, 10, 10, 0.8], [0, 0, 10, 9, 0.9], [20, 0, 30, 10, 0.5]])
        >>> nms_match(dets, 0.5)
        [[1, 0], [2]]
    """
    boxes = at_least_float32(dets[:, :4])
    left = dets[:, 4].sort(descending=True, stable=True).indices
    groups = []
    while left.numel():
        best, left = left[0], left[1:]
        beaten = _overlaps(boxes[best, None], boxes[left], 0)[0] >= iou_threshold
        groups.append([int(best), *left[beaten].tolist()])
        left = left[~beaten]
    return groups


def _best_of_block(beats: Tensor) -> Tensor:
    """Tells which of some boxes are kept, given which would beat which, best first.

    Whether a box is kept depends on those before it, one by one. Doing it for all at once, over
    and over, is right for one box more each time, and mostly for all after a few times.
    """
    beats = beats.triu(1).to(torch.float32)
    kept = beats.new_ones(len(beats))
    while True:
        now = (kept @ beats == 0).to(beats.dtype)
        if torch.equal(now, kept):
            return kept > 0
        kept = now


def _overlaps(first: Tensor, second: Tensor, offset: int) -> Tensor:
    """IoU of each of some boxes with each of others, (M, 4) and (N, 4) to (M, N)."""
    x1, y1, x2, y2 = first[:, :, None].unbind(1)
    u1, v1, u2, v2 = second.t().contiguous()
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1) + offset).clamp_(min=0)
    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1) + offset).clamp_(min=0)
    intersection = width.mul_(height)
    area = (x2 - x1 + offset) * (y2 - y1 + offset)
    union = area + (u2 - u1 + offset) * (v2 - v1 + offset) - intersection
    return intersection.div_(union)


# A traced graph calls it as one op, for the number of boxes that are left is not known there.
_op = torch.library.custom_op('mmblocks::nms', nms, mutates_args=())


@_op.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    kept = torch.library.get_ctx().new_dynamic_size()
    return scores.new_empty(kept, dtype=torch.int64)
