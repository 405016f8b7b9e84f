"""Non-maximum suppression in plain PyTorch: hard, soft, and with the boxes that each one beat."""

from __future__ import annotations

import torch
from torch import Tensor

from mmblocks.ops import vision
from mmblocks.ops.precision import at_least_float32

# Boxes that are compared with all later ones at a time: few enough for their overlaps to stay in
# the cache, enough of them to make the work between two calls of Python worth while.
_BLOCK = 128
# Where fewer pairs than one in so many can overlap, only these are compared.
_SPARSE = 32


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Keeps the best of each bunch of overlapping boxes.

    Args:
        boxes: Corners (x1, y1, x2, y2) in pixels, (N, 4).
        scores: Scores, (N,). Equal ones come in the order of :func:`torch.sort`, as in mmcv's op.
        iou_threshold: A box goes if its IoU with a better one that is kept is above this.
        offset: Width is x2 - x1 + offset: 0, or 1 where corners are whole pixels.

    Returns:
        Indices of the kept boxes, (K,) of int64, best score first.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]])
        >>> nms(boxes, torch.tensor([0.8, 0.9, 0.5]), iou_threshold=0.5)
        tensor([1, 2])
    """
    if offset == 0 and vision.serves(boxes):
        return vision.nms(boxes, scores, iou_threshold)
    # As mmcv's op sorts, so that equal scores come in its order.
    order = scores.sort(descending=True).indices
    sides = _sides(boxes[order], offset)
    by_left, following = _may_overlap(sides, offset)
    if int(following.sum()) * _SPARSE <= len(order) ** 2:
        return order[_keep_of_pairs(sides, by_left, following, iou_threshold, offset)]
    return order[_keep_of_blocks(sides, iou_threshold, offset)]


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
    sides = _sides(boxes, offset)
    left = torch.arange(len(scores), device=scores.device)
    dets, indices = [], []
    while left.numel():
        # mmcv's op swaps boxes, so that equal scores come in this order.
        place = scores[left].argmax()
        best = left[place].clone()
        left[place] = left[0]
        left = left[1:]
        dets.append(torch.cat([boxes[best], scores[best, None]]))
        indices.append(best)
        # Two boxes without area have 0 / 0 of each other.
        iou = _iou(sides[:, best, None], sides[:, left], offset).nan_to_num(0.0)
        if method == 2:
            weight = (-iou.square() / sigma).exp()
        else:
            weight = torch.where(iou >= iou_threshold, 1 - iou if method else 0.0, 1.0)
        scores[left] *= weight
        left = _without(left, scores[left] < min_score)
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
    sides = _sides(dets[:, :4], 0)
    left = dets[:, 4].sort(descending=True).indices
    groups = []
    while left.numel():
        best, left = left[0], left[1:]
        beaten = _iou(sides[:, best, None], sides[:, left], 0) >= iou_threshold
        groups.append([int(best), *left[beaten].tolist()])
        left = left[~beaten]
    return groups


def _without(values: Tensor, gone: Tensor) -> Tensor:
    """Drops values, and fills their places from the end, as mmcv's soft-NMS does."""
    count = int((~gone).sum())
    values, tail = values.clone()[:count], values[count:]
    values[gone[:count]] = tail[~gone[count:]].flip(0)
    return values


def _may_overlap(sides: Tensor, offset: int) -> tuple[Tensor, Tensor]:
    """Sorts boxes by their left side.

    Returns:
        Indices of the boxes in that order, and how many of those that follow each one start
        before it ends: no others can overlap with it.
    """
    left, by_left = sides[0].sort()
    behind = torch.searchsorted(left, sides[2, by_left] + offset, right=True)
    place = torch.arange(1, len(left) + 1, device=sides.device)
    return by_left, (behind - place).clamp_(min=0)


def _keep_of_pairs(
    sides: Tensor, by_left: Tensor, following: Tensor, iou_threshold: float, offset: int
) -> Tensor:
    """Keeps the best of boxes, best first, most of which are far apart, as those of classes are."""
    count = torch.arange(int(following.sum()), device=sides.device)
    first = torch.arange(len(by_left), device=sides.device).repeat_interleave(following)
    second = first + 1 + count - (following.cumsum(0) - following)[first]
    first, second = by_left[first], by_left[second]
    better, worse = torch.minimum(first, second), torch.maximum(first, second)
    beats = _iou(sides[:, better], sides[:, worse], offset) > iou_threshold
    better, worse = better[beats], worse[beats]
    kept = torch.ones_like(by_left, dtype=torch.bool)
    while True:
        now = torch.ones_like(kept)
        now[worse[kept[better]]] = False
        if torch.equal(now, kept):
            return kept
        kept = now


def _keep_of_blocks(sides: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Keeps the best of boxes, best first, wherever they are."""
    kept = []
    rest = torch.arange(sides.shape[1], device=sides.device)
    while rest.numel():
        head, rest = rest[:_BLOCK], rest[_BLOCK:]
        heads = sides[:, head]
        best = _best_of_block(_iou(heads[:, :, None], heads[:, None], offset) > iou_threshold)
        head, heads = head[best], heads[:, best]
        kept.append(head)
        if rest.numel():
            beats = _iou(heads[:, :, None], sides[:, None, rest], offset) > iou_threshold
            rest = rest[~beats.amax(dim=0)]  # many times as fast as any(dim=0)
    return torch.cat(kept)


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


def _sides(boxes: Tensor, offset: int) -> Tensor:
    """Turns (N, 4) boxes into (5, N): x1, y1, x2, y2 and areas."""
    x1, y1, x2, y2 = at_least_float32(boxes).unbind(1)
    return torch.stack([x1, y1, x2, y2, (x2 - x1 + offset) * (y2 - y1 + offset)])


def _iou(first: Tensor, second: Tensor, offset: int) -> Tensor:
    """IoU of boxes, (5, ...) and (5, ...) from :func:`_sides`; in place, for memory takes time."""
    x1, y1, x2, y2, area = first
    u1, v1, u2, v2, other = second
    width = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1))
    height = torch.minimum(y2, v2).sub_(torch.maximum(y1, v1))
    if offset:
        width, height = width.add_(offset), height.add_(offset)
    intersection = width.clamp_(min=0).mul_(height.clamp_(min=0))
    return intersection / (area + other).sub_(intersection)


# A traced graph calls it as one op, for the number of boxes that are left is not known there.
_op = torch.library.custom_op('mmblocks::nms', nms, mutates_args=())


@_op.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    kept = torch.library.get_ctx().new_dynamic_size()
    return scores.new_empty(kept, dtype=torch.int64)
