"""What ``mmcv.ops`` looks for in ``mmcv._ext``: the PyTorch forms under mmcv's names.

Names and arguments are mmcv's, and results are written to where it wants them. An op that is not
here is an error when it is called, not when ``mmcv.ops`` is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from mmblocks.ops import focal_loss, roi_pool
from mmblocks.ops.attention import deformable_attention
from mmblocks.ops.boxes import box_overlaps
from mmblocks.ops.carafe import carafe
from mmblocks.ops.deform_conv import deform_conv
from mmblocks.ops.deform_roi_pool import deform_roi_pool
from mmblocks.ops.gradient import recomputed_gradients
from mmblocks.ops.masked_conv import gather_patches, scatter_columns
from mmblocks.ops.nms import nms_match, soft_nms

__all__ = ['nms_match']  # the one whose name and arguments are the same


def missing_op(name: str) -> Callable[..., NoReturn]:
    """Stand for an op that is not here; the ``__getattr__`` of what becomes ``mmcv._ext``.

    Args:
        name: The op's.

    Returns:
        A function that raises NotImplementedError whatever it is called with.

    Raises:
        AttributeError: The name is one of Python's own.
    """
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(
            f'{name} of mmcv.ops has no PyTorch form in mmblocks: it needs mmcv with compiled ops '
            '(MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary mmcv mmcv)'
        )

    return missing


def get_compiler_version() -> str:
    """Say what stands in for a compiler."""
    return 'none (PyTorch forms of mmblocks)'


def get_compiling_cuda_version() -> str:
    """Say, as mmcv does, that nothing was compiled for CUDA."""
    return 'not available'


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """See :func:`mmblocks.ops.nms.nms`."""
    return torch.ops.mmblocks.nms(bboxes, scores, iou_threshold, offset)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """See :func:`mmblocks.ops.nms.soft_nms`; ``dets`` gets the boxes and their scores."""
    found, indices = soft_nms(boxes, scores, iou_threshold, sigma, min_score, method, offset)
    dets[: len(found)] = found
    return indices


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """See :func:`mmblocks.ops.boxes.box_overlaps`; mode 1 divides by the area of the first box."""
    ious.copy_(box_overlaps(bboxes1, bboxes2, 'iof' if mode else 'iou', aligned, offset))


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
    """Add the gradient for the maps to ``grad_input``."""
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
    values, places = roi_pool.roi_pool(input, rois, (pooled_height, pooled_width), spatial_scale)
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
    """Add the gradient for the maps to ``grad_input``."""
    grad_input += roi_pool.roi_pool_backward(grad_output, tuple(grad_input.shape), rois, argmax)


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
    """Add the gradients for maps and displacements."""
    options = ((pooled_height, pooled_width), spatial_scale, sampling_ratio, gamma)
    targets = [(input, grad_input)]
    if offset.numel():
        targets.append((offset, grad_offset))
    _add_gradients(
        lambda maps, shift=None: deform_roi_pool(maps, rois, shift, *options), targets, grad_output
    )


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """See :func:`mmblocks.ops.focal_loss.sigmoid_focal_loss`."""
    weight = weight if weight.numel() else None
    output.copy_(focal_loss.sigmoid_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """See :func:`mmblocks.ops.focal_loss.sigmoid_focal_loss_backward`."""
    weight = weight if weight.numel() else None
    grad_input.copy_(focal_loss.sigmoid_focal_loss_backward(input, target, weight, gamma, alpha))


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """See :func:`mmblocks.ops.focal_loss.softmax_focal_loss`."""
    weight = weight if weight.numel() else None
    output.copy_(focal_loss.softmax_focal_loss(input, target, weight, gamma, alpha))


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """See :func:`mmblocks.ops.focal_loss.softmax_focal_loss_backward`."""
    weight = weight if weight.numel() else None
    grad_input.copy_(focal_loss.softmax_focal_loss_backward(input, target, weight, gamma, alpha))


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **options: int,
) -> None:
    """See :func:`mmblocks.ops.deform_conv.deform_conv`."""
    output.copy_(deform_conv(input, offset, None, weight, None, **_first_version(options)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **options: int,
) -> None:
    """Add the gradients for maps and offsets."""
    _add_gradients(
        lambda x, by: deform_conv(x, by, None, weight, None, **_first_version(options)),
        [(input, grad_input), (offset, grad_offset)],
        grad_output,
    )


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **options: int,
) -> None:
    """Add the gradient for the weight, times ``scale``."""
    shape = grad_weight.new_zeros(()).expand(grad_weight.shape)
    _add_gradients(
        lambda weight: deform_conv(input, offset, None, weight, None, **_first_version(options)),
        [(shape, grad_weight)],
        grad_output * scale,
    )


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **options: int,
) -> None:
    """See :func:`mmblocks.ops.deform_conv.deform_conv`."""
    bias = bias if with_bias else None
    output.copy_(deform_conv(input, offset, mask, weight, bias, **_second_version(options)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **options: int,
) -> None:
    """Add the gradients for everything."""
    _add_gradients(
        lambda *inputs: deform_conv(*inputs, None, **_second_version(options)),
        [(input, grad_input), (offset, grad_offset), (mask, grad_mask), (weight, grad_weight)],
        grad_output,
    )
    if with_bias:
        grad_bias += grad_output.sum((0, 2, 3))


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """See :func:`mmblocks.ops.attention.deformable_attention`."""
    return deformable_attention(value, spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Add the gradients for values, points and weights."""
    _add_gradients(
        lambda of, points, weights: deformable_attention(of, spatial_shapes, points, weights),
        [
            (value, grad_value),
            (sampling_locations, grad_sampling_loc),
            (attention_weights, grad_attn_weight),
        ],
        grad_output,
    )


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """See :func:`mmblocks.ops.carafe.carafe`."""
    output.copy_(carafe(features, masks, kernel_size, group_size, scale_factor))


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add the gradients for maps and kernels."""
    _add_gradients(
        lambda maps, kernels: carafe(maps, kernels, kernel_size, group_size, scale_factor),
        [(features, bottom_grad), (masks, mask_grad)],
        top_grad,
    )


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    **options: int,
) -> None:
    """See :func:`mmblocks.ops.carafe.carafe`; ``rfeatures`` is what mmcv keeps for the gradient."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, **options)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    **options: int,
) -> None:
    """Add the gradients for maps and kernels."""
    carafe_naive_backward(top_grad, rfeatures, masks, bottom_grad, mask_grad, **options)


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """See :func:`mmblocks.ops.masked_conv.gather_patches`."""
    col.copy_(gather_patches(im, mask_h_idx, mask_w_idx, (kernel_h, kernel_w), (pad_h, pad_w)))


def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """See :func:`mmblocks.ops.masked_conv.scatter_columns`."""
    scatter_columns(col, mask_h_idx, mask_w_idx, im)


def _add_gradients(
    function: Callable[..., Tensor], targets: list[tuple[Tensor, Tensor]], grad: Tensor
) -> None:
    """Add the gradients of a function for some inputs to the tensors beside them."""
    gradients = recomputed_gradients(function, [value for value, _ in targets], grad)
    for (_, into), gradient in zip(targets, gradients, strict=True):
        into += gradient


def _first_version(options: dict[str, int]) -> dict[str, Any]:
    """Settings as the first version of deformable convolution names them."""
    return dict(
        stride=(options['dH'], options['dW']),
        padding=(options['padH'], options['padW']),
        dilation=(options['dilationH'], options['dilationW']),
        groups=options['group'],
        deform_groups=options['deformable_group'],
    )


def _second_version(options: dict[str, int]) -> dict[str, Any]:
    """Settings as the second version names them."""
    return dict(
        stride=(options['stride_h'], options['stride_w']),
        padding=(options['pad_h'], options['pad_w']),
        dilation=(options['dilation_h'], options['dilation_w']),
        groups=options['group'],
        deform_groups=options['deformable_group'],
    )
