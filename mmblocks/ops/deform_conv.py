"""Deformable convolution in plain PyTorch: sample the taps, then one product."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmblocks.ops.sampling import sample_taps


def deform_conv(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Convolves with taps that are displaced, and weighed where there is a mask.

    From `Deformable ConvNets <https://arxiv.org/abs/1703.06211>`_ and, with a mask, `their second
    version <https://arxiv.org/abs/1811.11168>`_.

    Args:
        x: Feature maps, (N, C, H, W).
        offset: Displacement of each tap in pixels, (N, deform_groups * 2 * taps, H', W'): (y, x)
            tap by tap, row by row.
        mask: Factor of each tap, (N, deform_groups * taps, H', W'), or None.
        weight: (C', C / groups, rows, columns).
        bias: (C',) or None.
        stride: Step of the kernel in pixels, (vertical, horizontal).
        padding: Zeros around the map in pixels, likewise.
        dilation: Distance of taps in pixels, likewise.
        groups: Groups of channels that are convolved apart.
        deform_groups: Groups of channels that have offsets and masks of their own.

    Returns:
        (N, C', H', W').

    Example:
        >>> import torch
        >>> x, weight = torch.rand(1, 4, 5, 5), torch.rand(2, 4, 3, 3)
        >>> offset = torch.zeros(1, 18, 5, 5)
        >>> out = deform_conv(x, offset, None, weight, None, (1, 1), (1, 1), (1, 1))
        >>> torch.allclose(out, F.conv2d(x, weight, padding=1), atol=1e-5)
        True
    """
    size, kernel_size = offset.shape[-2:], (weight.shape[2], weight.shape[3])
    taps = kernel_size[0] * kernel_size[1]
    samples = sample_taps(x, offset, kernel_size, stride, padding, dilation, deform_groups)
    if mask is not None:
        samples = samples * mask.reshape(samples.shape[0], 1, taps, *size)
    # Every tap is a channel of its own by now.
    samples = samples.to(x.dtype).reshape(x.shape[0], x.shape[1] * taps, *size)
    return F.conv2d(samples, weight.flatten(1)[..., None, None], bias, groups=groups)
