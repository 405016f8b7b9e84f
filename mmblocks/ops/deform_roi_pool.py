"""Deformable RoI pooling in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from mmblocks.ops.precision import at_least_float32
from mmblocks.ops.roi_align import interpolate, sample_positions


def deform_roi_pool(
    maps: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    size: tuple[int, int],
    scale: float,
    ratio: int,
    gamma: float,
) -> Tensor:
    """Averages the bilinear samples in each bin of each region, bins displaced one by one.

    From `Deformable ConvNets <https://arxiv.org/abs/1703.06211>`_.

    Args:
        maps: Feature maps, (N, C, H, W).
        rois: Image of the batch and corners in pixels of the image, (R, 5).
        offset: Displacement of each bin as (x, y), in shares of the region's size times
            ``gamma``, (R, 2, *size); or None.
        size: Bins per column and per row of a region.
        scale: Pixels of the map per pixel of the image.
        ratio: Samples per bin and direction; 0: so many that they are at most a pixel apart.
        gamma: Factor of the displacements.

    Returns:
        (R, C, *size).

    Example:
        >>> import torch
        >>> ramp = torch.arange(8.0).expand(1, 1, 8, 8)
        >>> region, right = torch.tensor([[0.0, 0, 0, 4, 4]]), torch.zeros(1, 2, 1, 2)
        >>> right[:, 0] = 2.5
        >>> deform_roi_pool(ramp, region, right, (1, 2), scale=1.0, ratio=2, gamma=0.1)
        tensor([[[[1.5000, 3.5000]]]])
    """
    height, width = maps.shape[2:]
    rows = at_least_float32(maps).permute(0, 2, 3, 1).flatten(0, 2)
    out = rows.new_zeros(len(rois), *size, maps.shape[1])
    extent = at_least_float32(rois)
    extent = (extent[:, 3:] - extent[:, 1:3]) * (scale * gamma)
    for regions, (y, x) in sample_positions(rois, size, scale, ratio, aligned=True):
        if not (y.shape[-1] and x.shape[-1]):
            continue
        y, x = y[:, :, None, :].expand(-1, -1, size[1], -1), x[:, None].expand(-1, size[0], -1, -1)
        if offset is not None:
            shift = (offset * extent[:, :, None, None])[regions]
            y, x = y + shift[:, 1, :, :, None], x + shift[:, 0, :, :, None]
        (row, row_weight), (column, column_weight) = interpolate(y, height), interpolate(x, width)
        row = row + rois[regions, 0].long()[:, None, None, None] * height
        pixels = row[..., :, None] * width + column[..., None, :]
        weights = row_weight[..., :, None] * column_weight[..., None, :]
        total = (rows[pixels] * weights[..., None]).sum((3, 4))
        out = out.index_add(0, regions, (total / (y.shape[-1] * x.shape[-1])).to(out.dtype))
    return out.permute(0, 3, 1, 2).to(maps.dtype)
