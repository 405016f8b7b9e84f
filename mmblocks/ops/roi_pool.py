"""RoIPool in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmblocks.ops.precision import at_least_float32


def roi_pool(
    maps: Tensor, rois: Tensor, size: Sequence[int], scale: float
) -> tuple[Tensor, Tensor]:
    """Takes the largest pixel in each bin of each region.

    From `Fast R-CNN <https://arxiv.org/abs/1504.08083>`_.

    Args:
        maps: Feature maps, (N, C, H, W).
        rois: Image of the batch and corners in pixels of the image, (R, 5). The last pixel counts
            in, as mmcv has it.
        size: Bins per column and per row of a region.
        scale: Pixels of the map per pixel of the image.

    Returns:
        The values, (R, C, *size), 0 where a bin has no pixel; and their places in the flattened
        map, of the same shape and int32, -1 where there is none.

    Example:
        >>> ramp = torch.arange(8.0).expand(1, 1, 8, 8)
        >>> roi_pool(ramp, torch.tensor([[0.0, 0, 0, 3, 3]]), (1, 2), scale=1.0)[0]
        tensor([[[[1., 3.]]]])
    """
    height, width = maps.shape[2:]
    shape = (len(rois), maps.shape[1], *size)
    values, places = maps.new_zeros(shape), rois.new_full(shape, -1, dtype=torch.int32)
    corners = at_least_float32(rois)[:, 1:].clone()
    corners[:, 2:] += 1
    x1, y1, x2, y2 = (corners * scale).unbind(1)
    tops, bottoms = _edges(y1, y2, size[0], height)
    lefts, rights = _edges(x1, x2, size[1], width)
    images = rois[:, 0].long().tolist()
    for r, inside in enumerate(((x2 > x1) & (y2 > y1)).tolist()):
        if not inside:
            continue
        for i, (top, bottom) in enumerate(zip(tops[r], bottoms[r], strict=True)):
            for j, (left, right) in enumerate(zip(lefts[r], rights[r], strict=True)):
                if bottom > top and right > left:
                    patch = maps[images[r], :, top:bottom, left:right].flatten(1)
                    values[r, :, i, j], index = patch.max(dim=1)
                    row, column = index // (right - left), index % (right - left)
                    places[r, :, i, j] = ((top + row) * width + left + column).int()
    return values, places


# A traced graph calls it as one op, for what it does depends on the sizes of the regions.
_op = torch.library.custom_op('mmblocks::roi_pool', roi_pool, mutates_args=())


@_op.register_fake
def _(maps: Tensor, rois: Tensor, size: Sequence[int], scale: float) -> tuple[Tensor, Tensor]:
    values = maps.new_empty(len(rois), maps.shape[1], *size)
    return values, torch.empty_like(values, dtype=torch.int32)


def roi_pool_backward(grad: Tensor, shape: Sequence[int], rois: Tensor, places: Tensor) -> Tensor:
    """Returns the gradient of :func:`roi_pool` for the maps.

    Args:
        grad: Gradient of its values, (R, C, bins per column, bins per row).
        shape: Shape of the maps.
        rois: As there.
        places: What it gave.

    Returns:
        (N, C, H, W), of the dtype of ``grad``.
    """
    batch, channels, height, width = shape
    out = grad.new_zeros(batch * channels * height * width)
    first = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=grad.device)
    index = places.long().clamp(min=0) + first[:, :, None, None] * (height * width)
    out.index_add_(0, index.flatten(), torch.where(places < 0, 0, grad).flatten())
    return out.view(shape)


def _edges(
    start: Tensor, end: Tensor, bins: int, limit: int
) -> tuple[list[list[int]], list[list[int]]]:
    """First pixel of each bin, and the one behind its last, per region."""
    step = ((end - start) / bins)[:, None]
    count = torch.arange(bins, device=start.device)
    first = (count * step + start[:, None]).floor().clamp(0, limit)
    behind = ((count + 1) * step + start[:, None]).ceil().clamp(0, limit)
    return first.int().tolist(), behind.int().tolist()
