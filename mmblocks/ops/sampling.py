"""Bilinear sampling at any points of a map, and at the displaced taps of a convolution."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmblocks.utils.tracing import is_tracing


def sample_bilinear(maps: Tensor, y: Tensor, x: Tensor, padding: str = 'zeros') -> Tensor:
    """Samples maps bilinearly at points given in pixels.

    (0, 0) is the centre of the first pixel. A value at a whole pixel is exactly that pixel's, and
    the gradient there is the one towards the next higher coordinate, as in mmcv's deformable
    convolutions. Only what is traced may give the one towards the lower side instead.

    Args:
        maps: Maps, of any floating dtype; sampled in float32 at least.
        y: Rows in pixels, in float32 at least, because bfloat16 cannot tell neighbours apart.
        x: Columns in pixels, of the same shape and dtype.
        padding: What lies around a map: 'zeros', or 'border' for its nearest pixel.

    Shape:
        (B, C, H, W) maps and (B, ...) coordinates to (B, C, ...).

    Returns:
        The samples, in float32, or in float64 if an argument has it.

    Raises:
        ValueError: ``padding`` is none of the two.

    Example:
        >>> ramp = torch.arange(12.0).view(1, 1, 3, 4)
        >>> sample_bilinear(ramp, y=torch.tensor([[1.0, 0.5]]), x=torch.tensor([[2.0, 0.25]]))
        tensor([[[6.0000, 2.2500]]])
    """
    dtype = _at_least_float32(maps.dtype, y.dtype)
    maps, y, x = maps.to(dtype), y.to(dtype), x.to(dtype)
    height, width = maps.shape[-2:]
    if padding == 'border':
        y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    elif padding == 'zeros':
        # At -1 itself the value is 0 from both sides; mmcv's gradient there is that of outside.
        y = y.masked_fill((y <= -1) | (y >= height), -2)
        x = x.masked_fill((x <= -1) | (x >= width), -2)
    else:
        raise ValueError(f"padding={padding!r}: must be 'zeros' or 'border'")
    if not is_tracing():
        maps = _pad_to_powers_of_two(maps, padding)
        height, width = maps.shape[-2:]
        padding = 'zeros'
    # align_corners=False divides by the size, not by the size - 1, which may be 0.
    grid = torch.stack(((x + 0.5) * (2 / width) - 1, (y + 0.5) * (2 / height) - 1), dim=-1)
    samples = F.grid_sample(
        maps, grid.flatten(1, -2).unsqueeze(2), padding_mode=padding, align_corners=False
    )
    return samples.reshape(*maps.shape[:2], *y.shape[1:])


def sample_taps(
    x: Tensor,
    offset: Tensor,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    deform_groups: int = 1,
) -> Tensor:
    """Samples a map where the taps of a deformable convolution look, with zeros around the map.

    Args:
        x: Feature map.
        offset: Displacement of each tap in pixels, as mmcv orders it: (y, x) of the first tap,
            (y, x) of the next, row by row; one such set per deformable group.
        kernel_size: Taps per column and per row.
        stride: Step of the kernel in pixels.
        padding: Pixels by which the kernel's first position lies outside of the map.
        dilation: Distance of taps in pixels.
        deform_groups: Number of groups of channels that have their own offsets.

    Shape:
        (N, C, H, W) and (N, deform_groups * 2 * taps, H', W') to
        (N * deform_groups, C / deform_groups, taps, H', W').

    Returns:
        The samples, in float32, or in float64 if an argument has it.

    Example:
        >>> settings = dict(stride=(1, 1), padding=(1, 1), dilation=(1, 1))
        >>> x = torch.rand(2, 8, 5, 6)
        >>> sample_taps(x, torch.zeros(2, 18, 5, 6), (3, 3), **settings).shape
        torch.Size([2, 8, 9, 5, 6])
    """
    batch, channels, height, width = x.shape
    rows, columns = offset.shape[-2:]
    # Before a position is added: in half precision the sum would be whole pixels on a large map.
    offset = offset.to(_at_least_float32(x.dtype, offset.dtype))
    offset = offset.reshape(batch * deform_groups, *kernel_size, 2, rows, columns)

    def positions(axis: int, size: int) -> Tensor:
        options: dict[str, Any] = dict(dtype=offset.dtype, device=offset.device)
        first = torch.arange(size, **options) * stride[axis] - padding[axis]
        return torch.arange(kernel_size[axis], **options).unsqueeze(1) * dilation[axis] + first

    tap_y = positions(0, rows)[:, None, :, None]
    tap_x = positions(1, columns)[:, None]
    maps = x.reshape(batch * deform_groups, channels // deform_groups, height, width)
    samples = sample_bilinear(maps, offset[:, :, :, 0] + tap_y, offset[:, :, :, 1] + tap_x)
    return samples.flatten(2, 3)


def _at_least_float32(*dtypes: torch.dtype) -> torch.dtype:
    return torch.float64 if torch.float64 in dtypes else torch.float32


def _pad_to_powers_of_two(maps: Tensor, padding: str) -> Tensor:
    """Pads right and below, so that grid_sample's normalised coordinates are exact.

    With other sizes, a whole pixel becomes one that is a rounding error to its left or right,
    and the gradient by the offset jumps between the two sides: offsets start at zero, on pixels.
    """
    height, width = maps.shape[-2:]
    # A map's last pixel needs its own copy beside it: there 'border' has slope 0.
    beyond = 1 if padding == 'border' else 0
    below = (1 << (height - 1 + beyond).bit_length()) - height
    right = (1 << (width - 1 + beyond).bit_length()) - width
    if maps.device.type == 'cpu':
        # All channels of a pixel together: fewer cache misses.
        maps = maps.contiguous(memory_format=torch.channels_last)
    return F.pad(maps, (0, right, 0, below), 'replicate' if beyond else 'constant')
