"""What mmblocks' ops in a graph become in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Returns for each op the function that puts ONNX's ops in its place."""
    import onnxscript

    op: Any = onnxscript.opset18

    def ints(*values: int) -> Any:
        return op.Constant(value_ints=list(values))

    def nms_mask(boxes: Any, scores: Any, iou_threshold: float, max_num: int) -> Any:
        kept = op.NonMaxSuppression(  # (K, 3): image, class and box
            op.Unsqueeze(boxes, ints(0)),
            op.Unsqueeze(scores, ints(0, 1)),
            ints(max_num),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[0.0]),
        )
        rows = op.Slice(kept, ints(2), ints(3), ints(1))
        ones = op.Expand(op.Constant(value_float=1.0), op.Shape(kept, end=1))
        return op.Cast(op.ScatterND(op.Mul(scores, 0.0), rows, ones), to=9)

    def roi_align_levels(
        maps: Sequence[Any],
        rois: Any,
        levels: Any,
        size: Sequence[int],
        scales: Sequence[float],
        ratio: int,
        aligned: bool,
    ) -> Any:
        image = op.Cast(op.Gather(rois, op.Constant(value_int=0), axis=1), to=7)
        corners = op.Slice(rois, ints(1), ints(5), ints(1))
        options = dict(
            coordinate_transformation_mode='half_pixel' if aligned else 'output_half_pixel',
            output_height=size[0],
            output_width=size[1],
            sampling_ratio=ratio,
        )
        places, parts = [], []
        for i, (level, scale) in enumerate(zip(maps, scales, strict=True)):
            some = op.NonZero(op.Equal(levels, op.Constant(value_int=i)))
            some = op.Squeeze(some, ints(0))
            of = (op.Gather(corners, some), op.Gather(image, some))
            parts.append(op.RoiAlign(level, *of, spatial_scale=scale, **options))
            places.append(some)
        values = op.Concat(*parts, axis=0)
        order = op.Unsqueeze(op.Concat(*places, axis=0), ints(1))
        return op.ScatterND(op.Mul(values, 0.0), order, values)

    ops = torch.ops.mmblocks
    return {ops.nms_mask.default: nms_mask, ops.roi_align_levels.default: roi_align_levels}
