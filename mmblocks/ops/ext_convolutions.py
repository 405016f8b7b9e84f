"""Convolutions of unusual taps under the names and arguments of ``mmcv._ext``."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmblocks.ops.carafe import carafe
from mmblocks.ops.deform_conv import deform_conv
from mmblocks.ops.gradient import add_gradients
from mmblocks.ops.masked_conv import gather_patches, scatter_columns

__all__ = [
    'deform_conv_forward',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'modulated_deform_conv_forward',
    'modulated_deform_conv_backward',
    'carafe_naive_forward',
    'carafe_naive_backward',
    'carafe_forward',
    'carafe_backward',
    'masked_im2col_forward',
    'masked_col2im_forward',
]


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
    """Adds the gradients for maps and offsets."""
    add_gradients(
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
    """Adds the gradient for the weight, times ``scale``."""
    shape = grad_weight.new_zeros(()).expand(grad_weight.shape)
    add_gradients(
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
    settings = _second_version(options)
    offset, mask = (_as_mmcv_reads(values, output) for values in (offset, mask))
    output.copy_(deform_conv(input, offset, mask, weight, bias if with_bias else None, **settings))


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
    """Adds the gradients for everything."""
    add_gradients(
        lambda x, by, mask, weight: deform_conv(
            x,
            _as_mmcv_reads(by, grad_output),
            _as_mmcv_reads(mask, grad_output),
            weight,
            None,
            **_second_version(options),
        ),
        [(input, grad_input), (offset, grad_offset), (mask, grad_mask), (weight, grad_weight)],
        grad_output,
    )
    if with_bias:
        grad_bias += grad_output.sum((0, 2, 3))


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
    """Adds the gradients for maps and kernels."""
    add_gradients(
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
    """Adds the gradients for maps and kernels."""
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


def _as_mmcv_reads(values: Tensor, output: Tensor) -> Tensor:
    """Returns offsets or masks in the output's size.

    mmcv's kernels take it for granted and read on in memory. DyHead gives those of a larger map,
    and its published weights are trained so.
    """
    size = output.shape[-2:]
    if values.shape[-2:] == size:
        return values
    read = values.shape[1] * size.numel()
    return values.flatten(1)[:, :read].reshape(*values.shape[:2], *size)


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
