"""torchvision's CUDA ops, which take over on a GPU where they load and mean the same as mmcv's.

They do for RoIAlign that averages, and for NMS without an offset. torchvision's RoIPool rounds the
corners of regions to pixels, mmcv's does not, so that one is never handed over.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import import_module

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmblocks.ops.precision import at_least_float32


def serves(values: Tensor) -> bool:
    """Says whether torchvision's ops take over for a tensor: it is on a GPU, and they load.

    Example:
        >>> serves(torch.zeros(1))
        False
    """
    return values.is_cuda and _has_cuda_ops()


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """See :func:`mmblocks.ops.nms.nms`; of equal scores the first comes first."""
    boxes = at_least_float32(boxes)
    kept: Tensor = torch.ops.torchvision.nms(boxes, scores.to(boxes.dtype), iou_threshold)
    return kept


def roi_align(
    maps: Tensor, rois: Tensor, size: Sequence[int], scale: float, ratio: int, aligned: bool
) -> Tensor:
    """See :func:`mmblocks.ops.roi_align.average`."""
    values = at_least_float32(maps)
    out: Tensor = torch.ops.torchvision.roi_align(
        values, rois.to(values.dtype), scale, size[0], size[1], ratio, aligned
    )
    return out.to(maps.dtype)


def roi_align_backward(
    grad: Tensor, shape: Sequence[int], rois: Tensor, scale: float, ratio: int, aligned: bool
) -> Tensor:
    """See :func:`mmblocks.ops.roi_align.average_backward`."""
    values = at_least_float32(grad)
    size = grad.shape[2:]
    out: Tensor = torch.ops.torchvision._roi_align_backward(
        values, rois.to(values.dtype), scale, size[0], size[1], *shape, ratio, aligned
    )
    return out.to(grad.dtype)


@functools.cache
def _has_cuda_ops() -> bool:
    try:
        import_module('torchvision')
        found = torch._C._dispatch_has_kernel_for_dispatch_key('torchvision::nms', 'CUDA')
    except (ImportError, OSError, RuntimeError):  # built for another torch, it raises any of them
        found = False
    on = "torchvision's CUDA ops" if found else "mmblocks' PyTorch forms: no torchvision that loads"
    print_log(f'on a GPU, nms and RoIAlign of mmcv.ops run on {on}', logger='current')
    return found
