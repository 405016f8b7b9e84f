"""Pooling of regions under the names and arguments of ``mmcv._ext``."""

from __future__ import annotations

import torch
from torch import Tensor

from mmblocks.ops import roi_pool
from mmblocks.ops.deform_roi_pool import deform_roi_pool
from mmblocks.ops.gradient import add_gradients
from mmblocks.ops.roi_align import average_into
from mmblocks.utils.tracing import is_tracing

__all__ = [
    'roi_align_forward',
    'roi_align_backward',
    'roi_pool_forward',
    'roi_pool_backward',
    'deform_roi_pool_forward',
    'deform_roi_pool_backward',
]


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """See :mod:`mmblocks.ops.roi_align`; pool mode 1 averages, 0 takes the maximum."""
    if pool_mode and not is_tracing():
        average_into(output, input, rois, spatial_scale, sampling_ratio, aligned)
        return
    size = [aligned_height, aligned_width]
    options = (rois, size, spatial_scale, sampling_ratio, aligned)
    if pool_mode:
        output.copy_(torch.ops.mmblocks.roi_align_average(input, *options))
        return
    found = torch.ops.mmblocks.roi_align_maximum(input, *options)
    for into, values in zip((output, argmax_y, argmax_x), found, strict=True):
        into.copy_(values)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Adds the gradient for the maps to ``grad_input``."""
    shape = list(grad_input.shape)
    if pool_mode:
        grad_input += torch.ops.mmblocks.roi_align_average_backward(
            grad_output, shape, rois, spatial_scale, sampling_ratio, aligned
        )
    else:
        grad_input += torch.ops.mmblocks.roi_align_maximum_backward(
            grad_output, shape, rois, argmax_y, argmax_x
        )


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """See :func:`mmblocks.ops.roi_pool.roi_pool`."""
    size = [pooled_height, pooled_width]
    values, places = torch.ops.mmblocks.roi_pool(input, rois, size, spatial_scale)
    output.copy_(values)
    argmax.copy_(places)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Adds the gradient for the maps to ``grad_input``."""
    grad_input += roi_pool.roi_pool_backward(grad_output, grad_input.shape, rois, argmax)


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """See :func:`mmblocks.ops.deform_roi_pool.deform_roi_pool`."""
    options = ((pooled_height, pooled_width), spatial_scale, sampling_ratio, gamma)
    output.copy_(deform_roi_pool(input, rois, offset if offset.numel() else None, *options))


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Adds the gradients for maps and displacements."""
    options = ((pooled_height, pooled_width), spatial_scale, sampling_ratio, gamma)
    targets = [(input, grad_input)]
    if offset.numel():
        targets.append((offset, grad_offset))
    add_gradients(
        lambda maps, shift=None: deform_roi_pool(maps, rois, shift, *options), targets, grad_output
    )
