"""What ``mmcv.ops`` looks for in ``mmcv._ext``: the PyTorch forms under mmcv's names.

Names and arguments are mmcv's, and results are written to where it wants them. An op that is not
here is an error when it is called, not when ``mmcv.ops`` is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from mmblocks.ops import (
    attention,  # noqa: F401 - registers its ops
    ext_convolutions,
    ext_regions,
    focal_loss,
)
from mmblocks.ops.boxes import box_overlaps
from mmblocks.ops.ext_convolutions import *  # noqa: F403 - the list of names stands there, once
from mmblocks.ops.ext_regions import *  # noqa: F403
from mmblocks.ops.nms import nms_match, soft_nms

__all__ = [
    *ext_convolutions.__all__,
    *ext_regions.__all__,
    'bbox_overlaps',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'nms_match',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
]


def missing_op(name: str) -> Callable[..., NoReturn]:
    """Stands for an op that is not here; the ``__getattr__`` of what becomes ``mmcv._ext``.

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
    """Says what stands in for a compiler."""
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


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """See :func:`mmblocks.ops.focal_loss.sigmoid_focal_loss`."""
    factors = weight if weight.numel() else None
    output.copy_(focal_loss.sigmoid_focal_loss(input, target, factors, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """See :func:`mmblocks.ops.focal_loss.sigmoid_focal_loss_backward`."""
    factors = weight if weight.numel() else None
    grad_input.copy_(focal_loss.sigmoid_focal_loss_backward(input, target, factors, gamma, alpha))


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """See :func:`mmblocks.ops.focal_loss.softmax_focal_loss`."""
    factors = weight if weight.numel() else None
    output.copy_(focal_loss.softmax_focal_loss(input, target, factors, gamma, alpha))


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
    factors = weight if weight.numel() else None
    grad_input.copy_(focal_loss.softmax_focal_loss_backward(input, target, factors, gamma, alpha))


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """See :func:`mmblocks.ops.attention.deformable_attention`."""
    result: Tensor = torch.ops.mmblocks.deformable_attention(
        value, spatial_shapes, sampling_locations, attention_weights
    )
    return result


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
    """Adds the gradients for values, points and weights."""
    gradients = torch.ops.mmblocks.deformable_attention_backward(
        grad_output, value, spatial_shapes, sampling_locations, attention_weights
    )
    for into, gradient in zip(
        (grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True
    ):
        into += gradient
