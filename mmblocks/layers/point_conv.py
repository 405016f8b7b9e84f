"""Convolution over points that lie anywhere in a map."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmblocks.utils.tracing import is_tracing


def convolve_points(
    x: Tensor, rows: Tensor, columns: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Reads a map bilinearly at some points per output pixel and adds up weighted readings.

    Beyond its border the map goes on as its outermost pixels.

    Args:
        x: Map, (N, C, H, W).
        rows: Places of the points in pixels from the first row's centre, (N, points, h, w), in
            float32 or more exact.
        columns: The same for columns.
        weight: Weights, (out channels, C / groups, points): its size says how many groups of
            channels are convolved apart.
        bias: Bias, (out channels,).

    Returns:
        The output, (N, out channels, h, w), in the map's precision.

    Example:
        >>> x = torch.arange(6.0).view(1, 1, 2, 3)
        >>> place = torch.full((1, 1, 1, 1), 0.5)
        >>> convolve_points(x, place, place, torch.ones(1, 1, 1)).item()
        2.0
    """
    # The grid sampler's backward is slow on CPU, but graphs of it can be exported.
    form = _by_rows if x.is_cpu and not is_tracing() and len(x) else _by_grid
    return form(x, rows, columns, weight, bias)


def _by_grid(
    x: Tensor, rows: Tensor, columns: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    height, width = x.shape[-2:]
    # Counted from the pixels' edges (align_corners=False), so that a map of one row or column is
    # no division by zero. The border stays where it is: at the outermost pixels' centres.
    grid = torch.stack(
        [(2 * columns.flatten(2) + 1) / width - 1, (2 * rows.flatten(2) + 1) / height - 1], dim=-1
    )
    samples = F.grid_sample(x.to(grid.dtype), grid, padding_mode='border', align_corners=False)
    return _add_up(samples.to(x.dtype), weight, bias).unflatten(2, rows.shape[2:])


def _add_up(samples: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolves (N, C, points, pixels) to (N, out channels, pixels)."""
    # A 2-D convolution of the same would keep a view that torch.compile cannot save for any size.
    kernel = weight.flatten(1).unsqueeze(2)
    groups = samples.shape[1] // weight.shape[1]
    return F.conv1d(samples.flatten(1, 2), kernel, bias, groups=groups)


def _by_rows(
    x: Tensor, rows: Tensor, columns: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    batch, channels, height, width = x.shape
    row = rows.permute(0, 2, 3, 1).clamp(0, height - 1)
    column = columns.permute(0, 2, 3, 1).clamp(0, width - 1)
    # The second clamp is for places that are NaN: their weights make the output NaN.
    top = row.detach().int().clamp(0, height - 1)
    left = column.detach().int().clamp(0, width - 1)
    down, right = row - top, column - left
    both = down * right
    shares = torch.stack([1 - down - right + both, right - both, down - both, both], dim=-1)

    image = torch.arange(batch, dtype=top.dtype).view(-1, 1, 1, 1) * height
    upper, lower = (image + top) * width, (image + (top + 1).clamp(max=height - 1)) * width
    beside = (left + 1).clamp(max=width - 1)
    corners = [upper + left, upper + beside, lower + left, lower + beside]
    index = torch.stack(corners, dim=-1).view(-1, 4)

    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels).to(rows.dtype)
    shares = shares.view(-1, 4)
    samples = F.embedding_bag(index, pixels.detach(), mode='sum', per_sample_weights=shares)
    samples = _PixelGradient.apply(samples, pixels, index, shares.detach())
    samples = samples.to(x.dtype).view(*row.shape, channels)
    if weight.shape[1] < channels:
        out = _add_up(samples.permute(0, 4, 3, 1, 2).flatten(3), weight, bias)
        return out.unflatten(2, row.shape[1:3])
    samples = samples.flatten(3)
    return F.linear(samples, weight.transpose(1, 2).flatten(1), bias).permute(0, 3, 1, 2)


class _PixelGradient(torch.autograd.Function):
    """Returns sums of weighted pixels as they are, and their gradient to the pixels.

    The gradient is a sum of weighted rows too, gathered pixel by pixel; PyTorch's own scatters.
    """

    @staticmethod
    def forward(ctx: Any, sums: Tensor, pixels: Tensor, index: Tensor, shares: Tensor) -> Tensor:
        ctx.save_for_backward(index, shares)
        ctx.num_pixels = len(pixels)
        return sums.view_as(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        if not ctx.needs_input_grad[1]:
            return grad, None, None, None
        index, shares = ctx.saved_tensors
        ordered, order = index.flatten().sort()
        first = torch.arange(ctx.num_pixels, dtype=ordered.dtype)
        pixels = F.embedding_bag(
            order // 4,
            grad.contiguous(),
            torch.searchsorted(ordered, first),
            mode='sum',
            per_sample_weights=shares.flatten()[order],
        )
        return grad, pixels, None, None
