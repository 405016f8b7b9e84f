"""RoIAlign in plain PyTorch: a bin is a weighted sum of pixels, so all bins are one product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmblocks.ops import vision
from mmblocks.ops.precision import at_least_float32
from mmblocks.ops.roi_bins import bin_pixels

# Values that max pooling gathers at a time.
_CHUNK = 1 << 24
# What mmcv's op starts its search for the largest sample from.
_LEAST = -10000.0


def average(
    maps: Tensor, rois: Tensor, size: Sequence[int], scale: float, ratio: int, aligned: bool
) -> Tensor:
    """Averages the bilinear samples in each bin of each region.

    From `Mask R-CNN <https://arxiv.org/abs/1703.06870>`_.

    Args:
        maps: Feature maps, (N, C, H, W).
        rois: Image of the batch and corners in pixels of the image, (R, 5).
        size: Bins per column and per row of a region.
        scale: Pixels of the map per pixel of the image.
        ratio: Samples per bin and direction; 0: so many that they are at most a pixel apart.
        aligned: Whether the centre of the first pixel is at 0.5, not at 0.

    Returns:
        (R, C, *size), of the dtype of ``maps``.

    Example:
        >>> ramp = torch.arange(8.0).expand(1, 1, 8, 8)
        >>> region = torch.tensor([[0.0, 0, 0, 4, 4]])
        >>> average(ramp, region, (1, 2), scale=1.0, ratio=2, aligned=True)
        tensor([[[[0.5000, 2.5000]]]])
    """
    out = maps.new_zeros(len(rois), maps.shape[1], *size)
    average_into(out, maps, rois, scale, ratio, aligned)
    return out


def average_into(
    out: Tensor, maps: Tensor, rois: Tensor, scale: float, ratio: int, aligned: bool
) -> None:
    """Writes what :func:`average` returns, with its arguments, into zeros of the right shape."""
    size = (out.shape[2], out.shape[3])
    if vision.serves(maps):
        out.copy_(vision.roi_align(maps, rois, size, scale, ratio, aligned))
        return
    rows = at_least_float32(maps.permute(0, 2, 3, 1)).flatten(0, 2)
    for regions, pixels, weights in bin_pixels(maps.shape, rois, size, scale, ratio, aligned):
        bags = F.embedding_bag(
            pixels.flatten(0, 2), rows, mode='sum', per_sample_weights=weights.flatten(0, 2)
        )
        bags = bags.view(len(regions), *size, -1).permute(0, 3, 1, 2)
        out.index_copy_(0, regions, bags.to(out.dtype))


def average_backward(
    grad: Tensor,
    shape: Sequence[int],
    rois: Tensor,
    scale: float,
    ratio: int,
    aligned: bool,
) -> Tensor:
    """Returns the gradient of :func:`average` for the maps.

    Args:
        grad: Gradient of its result, (R, C, bins per column, bins per row).
        shape: Shape of the maps.
        rois: As there.
        scale: As there.
        ratio: As there.
        aligned: As there.

    Returns:
        (N, C, H, W), of the dtype of ``grad``.
    """
    if vision.serves(grad):
        return vision.roi_align_backward(grad, shape, rois, scale, ratio, aligned)
    batch, channels, height, width = shape
    size = (grad.shape[2], grad.shape[3])
    rows = at_least_float32(grad).permute(0, 2, 3, 1)
    out = rows.new_zeros(batch * height * width, channels)
    for regions, pixels, weights in bin_pixels(shape, rois, size, scale, ratio, aligned):
        bags = rows[regions].reshape(-1, channels)
        bag = torch.arange(len(bags), device=grad.device).repeat_interleave(pixels.shape[-1])
        # Faster than the gradient that embedding_bag has itself, which sorts the pixels.
        spread = torch.sparse_coo_tensor(
            torch.stack([pixels.flatten(), bag]),
            weights.flatten(),
            (len(out), len(bags)),
            check_invariants=False,
        )
        out += spread @ bags
    return out.view(batch, height, width, channels).permute(0, 3, 1, 2).to(grad.dtype)


def maximum(
    maps: Tensor, rois: Tensor, size: Sequence[int], scale: float, ratio: int, aligned: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Takes the largest of the bilinear samples in each bin of each region.

    Args:
        maps: As for :func:`average`.
        rois: As there.
        size: As there.
        scale: As there.
        ratio: As there.
        aligned: As there.

    Returns:
        The values, and the row and column in pixels where each of them was found: all
        (R, C, *size). The row is -1 where there was nothing to look at.
    """
    rows = at_least_float32(maps.permute(0, 2, 3, 1)).flatten(0, 2)
    shape = (len(rois), maps.shape[1], *size)
    values = rows.new_full(shape, _LEAST)
    found_y, found_x = rows.new_full(shape, -1.0), rows.new_full(shape, -1.0)
    _, _, height, width = maps.shape
    for regions, positions in sample_positions(rois, size, scale, ratio, aligned):
        if not (positions[0].shape[-1] and positions[1].shape[-1]):
            continue
        samples = positions[0].shape[-1] * positions[1].shape[-1]
        step = max(1, _CHUNK // (samples * 4 * maps.shape[1] * size[0] * size[1]))
        for some in torch.arange(len(regions), device=rois.device).split(step):
            y, x = (position[some] for position in positions)
            row, row_weight = interpolate(y, height)
            column, column_weight = interpolate(x, width)
            row = row + rois[regions[some], 0].long()[:, None, None] * height
            pixels = row[:, :, None, :, None] * width + column[:, None, :, None, :]
            weights = row_weight[:, :, None, :, None] * column_weight[:, None, :, None, :]
            taps = rows[pixels] * weights[..., None]
            # (R, bins, bins, low and high, samples, low and high, samples, C)
            taps = taps.unflatten(3, (2, y.shape[-1])).unflatten(5, (2, x.shape[-1]))
            best, index = taps.sum((3, 5)).flatten(3, 4).max(3)
            found = best > _LEAST
            at_y = (index // x.shape[-1]).flatten(2)
            at_x = (index % x.shape[-1]).permute(0, 2, 1, 3).flatten(2)
            at_y = y.gather(2, at_y).view(index.shape)
            at_x = x.gather(2, at_x).view(index.permute(0, 2, 1, 3).shape).permute(0, 2, 1, 3)
            into = regions[some]
            values[into] = torch.where(found, best, _LEAST).permute(0, 3, 1, 2)
            found_y[into] = torch.where(found, at_y, -1.0).permute(0, 3, 1, 2)
            found_x[into] = torch.where(found, at_x, -1.0).permute(0, 3, 1, 2)
    return values.to(maps.dtype), found_y.to(maps.dtype), found_x.to(maps.dtype)


def maximum_backward(
    grad: Tensor, shape: Sequence[int], rois: Tensor, y: Tensor, x: Tensor
) -> Tensor:
    """Returns the gradient of :func:`maximum` for the maps.

    Args:
        grad: Gradient of its values, (R, C, bins per column, bins per row).
        shape: Shape of the maps.
        rois: As there.
        y: Rows that it gave.
        x: Columns that it gave.

    Returns:
        (N, C, H, W), of the dtype of ``grad``.
    """
    batch, channels, height, width = shape
    values = at_least_float32(grad)
    out = values.new_zeros(batch * channels * height * width)
    row, row_weight = interpolate(at_least_float32(y)[..., None], height)
    column, column_weight = interpolate(at_least_float32(x)[..., None], width)
    first = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=grad.device)
    pixels = (first[:, :, None, None, None] * height + row) * width
    for corner in range(2):
        for other in range(2):
            weight = row_weight[..., corner] * column_weight[..., other] * (y != -1)
            index = pixels[..., corner] + column[..., other]
            out.index_add_(0, index.flatten(), (values * weight).flatten())
    return out.view(shape).to(grad.dtype)


def sample_positions(
    rois: Tensor, size: Sequence[int], scale: float, ratio: int, aligned: bool
) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor]]]:
    """Returns regions that have the same number of samples, with where these are.

    Yields:
        Indices of the regions, (R,); rows in pixels, (R, bins per column, samples); columns.
    """
    if not len(rois):
        return
    corners = at_least_float32(rois[:, 1:]) * scale - (0.5 if aligned else 0.0)
    start, extent = corners[:, :2].flip(1), (corners[:, 2:] - corners[:, :2]).flip(1)
    if not aligned:
        extent = extent.clamp(min=1.0)
    step = extent / extent.new_tensor(size)
    if ratio > 0:
        groups = [((ratio, ratio), torch.arange(len(rois), device=rois.device))]
    else:
        counts, group = step.ceil().long().clamp_(min=0).unique(dim=0, return_inverse=True)
        groups = [(tuple(n), (group == i).nonzero()[:, 0]) for i, n in enumerate(counts.tolist())]
    for counts, regions in groups:
        positions = []
        for axis in (0, 1):
            bins = torch.arange(size[axis], device=rois.device)
            inner = torch.arange(counts[axis], dtype=step.dtype, device=step.device) + 0.5
            first, wide = start[regions, axis, None, None], step[regions, axis, None, None]
            positions.append(first + bins[:, None] * wide + inner * (wide / max(counts[axis], 1)))
        yield regions, (positions[0], positions[1])


def interpolate(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Interpolates along one axis: (..., samples) to pixels and weights, (..., 2 * samples)."""
    inside = (position >= -1) & (position <= size)
    position = position.clamp(0, size - 1)
    low = position.long()
    high = (low + 1).clamp(max=size - 1)
    share = position - low
    pixels = torch.cat([low, high], dim=-1)
    weights = torch.cat([(1 - share) * inside, share * inside], dim=-1)
    return pixels, weights


# A traced graph calls them as one op each, for what they do depends on the sizes of the regions.
_average = torch.library.custom_op('mmblocks::roi_align_average', average, mutates_args=())
_average_backward = torch.library.custom_op(
    'mmblocks::roi_align_average_backward', average_backward, mutates_args=()
)
_maximum = torch.library.custom_op('mmblocks::roi_align_maximum', maximum, mutates_args=())
_maximum_backward = torch.library.custom_op(
    'mmblocks::roi_align_maximum_backward', maximum_backward, mutates_args=()
)


@_average.register_fake
def _(maps: Tensor, rois: Tensor, size: Sequence[int], *_: Any) -> Tensor:
    return maps.new_empty(len(rois), maps.shape[1], *size)


@_maximum.register_fake
def _(maps: Tensor, rois: Tensor, size: Sequence[int], *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    values = maps.new_empty(len(rois), maps.shape[1], *size)
    return values, torch.empty_like(values), torch.empty_like(values)


@_average_backward.register_fake
@_maximum_backward.register_fake
def _(grad: Tensor, shape: Sequence[int], *_: Any) -> Tensor:
    return grad.new_empty(shape)
