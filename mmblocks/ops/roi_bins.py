"""The pixels of each bin of regions, and what each of them adds to the bin's average."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mmblocks.ops.precision import at_least_float32


def bin_pixels(
    shape: Sequence[int],
    rois: Tensor,
    size: Sequence[int],
    scale: float,
    ratio: int,
    aligned: bool,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Gives pixels and weights, for some of the regions at a time: those with as many of them.

    Args:
        shape: Of the feature maps, (N, C, H, W).
        rois: Image of the batch and corners in pixels of the image, (R, 5). Corners that are no
            numbers count as 0.
        size: Bins per column and per row of a region.
        scale: Pixels of the map per pixel of the image.
        ratio: Samples per bin and direction; 0: so many that they are at most a pixel apart.
        aligned: Whether the centre of the first pixel is at 0.5, not at 0.

    Yields:
        Indices of the regions, (K,); pixels as rows of the flattened maps, (N * H * W, C), and
        their weights, both (K, bins per column, bins per row, pixels). Regions without any
        sample are left out.

    Example:
        >>> region = torch.tensor([[0.0, 0, 0, 2, 2]])
        >>> ((which, pixels, weights),) = bin_pixels((1, 1, 4, 4), region, (1, 2), 1.0, 1, True)
        >>> pixels[0, 0], weights[0, 0]
        (tensor([[0, 1, 4, 5],
                [1, 2, 5, 6]]), tensor([[0.5000, 0.0000, 0.5000, 0.0000],
                [0.5000, 0.0000, 0.5000, 0.0000]]))
    """
    if not len(rois):
        return
    _, _, height, width = shape
    corners = at_least_float32(rois[:, 1:]) * scale - (0.5 if aligned else 0.0)
    left, top, right, bottom = corners.nan_to_num(0, 0, 0).unbind(1)
    y_count, y, y_weight = _along_axis(top, bottom, size[0], height, ratio, aligned)
    x_count, x, x_weight = _along_axis(left, right, size[1], width, ratio, aligned)
    y = (y + rois[:, 0].long()[:, None, None] * height) * width
    # As many pixels in either direction: a few too many, but fewer turns of the loop.
    counts = torch.maximum(y_count, x_count).clamp_(max=max(height, width))
    counts *= (y_count > 0) & (x_count > 0)
    for count in counts.unique().tolist():
        if not count:
            continue
        regions, near = (counts == count).nonzero()[:, 0], slice(int(count))
        pixels = y[regions, :, near][:, :, None, :, None] + x[regions, :, near][:, None, :, None]
        rows, columns = y_weight[regions, :, near], x_weight[regions, :, near]
        weights = rows[:, :, None, :, None] * columns[:, None, :, None]
        yield regions, pixels.flatten(3), weights.flatten(3)


def _along_axis(
    start: Tensor, end: Tensor, bins: int, limit: int, ratio: int, aligned: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in one direction.

    Returns:
        How many pixels a bin has at most, (R,); they themselves, and their weights, both
        (R, bins, pixels).
    """
    extent = end - start if aligned else (end - start).clamp(min=1.0)
    step = extent / bins
    first = (
        start[:, None] + torch.arange(bins, dtype=step.dtype, device=step.device) * step[:, None]
    )
    if ratio > 0:
        count, most, skipped = torch.full_like(step, ratio), ratio, torch.zeros_like(first)
    else:
        count, step = step.ceil().clamp_(min=0), step.clamp(min=0)
        # Of a region that is much larger than the map, only samples near the map are looked at.
        apart = (step / count.clamp(min=1)).clamp_(min=1e-3)
        skipped = ((-1 - first) / apart[:, None]).floor_().sub_(1).clamp_(min=0)
        most = int(count.max().clamp(max=2 * limit + 6))
    number = skipped[..., None] + torch.arange(most, dtype=step.dtype, device=step.device)
    samples = count.clamp(min=1)[:, None, None]
    position = first[..., None] + (number + 0.5) * step[:, None, None] / samples
    inside = (
        (position >= -1) & (position <= limit) & (number < samples * (count > 0)[:, None, None])
    )
    position.clamp_(0, limit - 1)
    low = position.long()
    share = position - low
    low_weight, high_weight = (1 - share) * (inside / samples), share * (inside / samples)
    if ratio > 0:
        pixels = torch.cat([low, (low + 1).clamp_(max=limit - 1)], dim=-1)
        return 2 * count, pixels, torch.cat([low_weight, high_weight], dim=-1)
    # At most a pixel apart, samples share pixels: one more of these than of samples is enough.
    pixels = low[..., :1] + torch.arange(min(most + 1, limit), device=step.device)
    place = low - low[..., :1]
    weights = low_weight.new_zeros(pixels.shape)
    weights.scatter_add_(2, place.clamp_(max=pixels.shape[-1] - 1), low_weight)
    weights.scatter_add_(2, (place + 1).clamp_(max=pixels.shape[-1] - 1), high_weight)
    return (count + 1) * (count > 0), pixels.clamp_(max=limit - 1), weights
