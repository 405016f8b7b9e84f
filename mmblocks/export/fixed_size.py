"""Fixed-size forms of what mmdet computes in as many rows as the data happens to want.

A row that mmdet would leave out stays here with score 0. Non-maximum suppression gives as many rows
as the config allows: where it keeps fewer boxes, the best one comes again, with score 0.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmblocks.export.ops import nms_mask, roi_align_levels
from mmblocks.utils.errors import UserError


@contextlib.contextmanager
def fixed_sizes() -> Iterator[None]:
    """Has mmdet run on the fixed-size forms for a while; `move_to_nms` comes before.

    Example:
        >>> from mmdet.models.utils import misc
        >>> scores = torch.tensor([[0.1, 0.9], [0.0, 0.3]])
        >>> misc.filter_scores_and_topk(scores, 0.2, 3)[0]
        tensor([0.9000, 0.3000])
        >>> with fixed_sizes():
        ...     misc.filter_scores_and_topk(scores, 0.2, 3)[0]
        tensor([0.9000, 0.3000, 0.0000])
    """
    from mmcv.ops import RoIAlign, batched_nms
    from mmdet.models.layers.bbox_nms import multiclass_nms
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import FCNMaskHead
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
    from mmdet.models.utils.misc import filter_scores_and_topk

    functions = {
        filter_scores_and_topk: best_scores,
        batched_nms: suppress,
        multiclass_nms: suppress_classes,
    }
    methods = {
        (RoIAlign, 'forward'): align,
        (SingleRoIExtractor, 'forward'): extract_regions,
        (FCNMaskHead, '_predict_by_feat_single'): paste_masks,
    }
    # Each head has imported them by name.
    modules = [module for name, module in sys.modules.items() if name.startswith('mmdet.')]
    with contextlib.ExitStack() as stack:
        for function, form in functions.items():
            for module in modules:
                if vars(module).get(function.__name__) is function:
                    stack.enter_context(mock.patch.object(module, function.__name__, form))
        for (cls, name), form in methods.items():
            stack.enter_context(mock.patch.object(cls, name, form))
        stack.enter_context(_MaskedRows())
        yield


def move_to_nms(model: nn.Module, max_per_img: int) -> None:
    """Moves into the ``nms`` of each test config what mmdet's heads do around it, data by data.

    These are the smallest size of a box, and how many boxes are kept at most.

    Args:
        model: The detector, whose test configs are changed.
        max_per_img: The latter, where a config does not say.
    """
    for module in model.modules():
        for cfg in _configs(getattr(module, 'test_cfg', None)):
            if isinstance(cfg.get('nms'), Mapping):
                cfg.nms.setdefault('max_num', cfg.get('max_per_img', max_per_img))
                cfg.nms.setdefault('min_bbox_size', cfg.pop('min_bbox_size', -1))


def best_scores(
    scores: Tensor, score_thr: float, topk: int, results: Any = None
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Takes the place of mmdet's ``filter_scores_and_topk``.

    Args:
        scores: Scores, (N, C).
        score_thr: Scores up to this become 0.
        topk: How many of all N * C scores are taken; -1 takes none, as there.
        results: Tensor of N rows, or a dict or list of such, whose rows are taken likewise.

    Returns:
        Scores, labels and rows, (K,) each, and the rows of ``results``; best score first.
    """
    flat = torch.where(scores > score_thr, scores, 0.0).flatten()
    num = flat.shape[0] if topk < 0 else torch.sym_min(topk, flat.shape[0])
    flat, order = flat.topk(num)
    rows, labels = order // scores.shape[1], order % scores.shape[1]
    if isinstance(results, dict):
        results = {name: value[rows] for name, value in results.items()}
    elif isinstance(results, list):
        results = [value[rows] for value in results]
    elif results is not None:
        results = results[rows]
    return flat, labels, rows, results


def suppress(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    nms_cfg: Mapping[str, Any] | None,
    class_agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Takes the place of mmcv's ``batched_nms``.

    Args:
        boxes: Corners in pixels, (N, 4).
        scores: Scores, (N,); those of 0 are no boxes.
        idxs: Boxes of different indices do not compete, (N,).
        nms_cfg: Settings of NMS; ``max_num`` and ``min_bbox_size`` as `move_to_nms` puts them.
        class_agnostic: Whether all boxes compete.

    Returns:
        Boxes with scores, (K, 5), and which they are, (K,).

    Raises:
        UserError: It is not plain NMS.
    """
    cfg = dict(nms_cfg or {})
    if nms_cfg is None or cfg.pop('type', 'nms') != 'nms' or cfg.pop('offset', 0):
        raise UserError(f"nms={nms_cfg} has no form in ONNX; take nms=dict(type='nms', ...)")
    least = cfg.get('min_bbox_size', -1)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    valid = scores > cfg.get('score_threshold', 0)
    if least >= 0:
        valid = valid & (width > least) & (height > least)
    scores = torch.where(valid, scores, 0.0)
    apart = boxes
    if not cfg.get('class_agnostic', class_agnostic):
        farthest = torch.where(valid[:, None], boxes, 0.0).max()
        apart = boxes + idxs.to(boxes)[:, None] * (farthest + 1)
    kept = nms_mask(apart, scores, float(cfg['iou_threshold']), cfg['max_num'])
    scores, keep = torch.where(kept, scores, 0.0).topk(
        torch.sym_min(cfg['max_num'], scores.shape[0])
    )
    keep = torch.where(scores > 0, keep, keep[:1])
    return torch.cat([boxes[keep], scores[:, None]], dim=1), keep


def suppress_classes(
    multi_bboxes: Tensor,
    multi_scores: Tensor,
    score_thr: float,
    nms_cfg: Mapping[str, Any],
    max_num: int = -1,
    score_factors: Tensor | None = None,
    return_inds: bool = False,
    box_dim: int = 4,
) -> tuple[Tensor, ...]:
    """Takes the place of mmdet's ``multiclass_nms``.

    Args:
        multi_bboxes: Corners in pixels, (N, 4) or (N, C * 4).
        multi_scores: Scores of the classes and of none of them, (N, C + 1).
        score_thr: Scores up to this become 0.
        nms_cfg: As for `suppress`.
        max_num: How many boxes are kept at most.
        score_factors: Factors of the scores after the threshold, (N,).
        return_inds: Whether to return which boxes of all N * C are kept.
        box_dim: Numbers of a box.

    Returns:
        Boxes with scores, (K, 5), labels, (K,), and if asked for which they are, (K,).
    """
    scores = multi_scores[:, :-1]
    num_classes = scores.shape[1]
    boxes = multi_bboxes.view(multi_bboxes.shape[0], -1, box_dim)
    boxes = boxes.expand(-1, num_classes, box_dim).reshape(-1, box_dim)
    labels = torch.arange(num_classes, device=scores.device).expand_as(scores).reshape(-1)
    scores = torch.where(scores > score_thr, scores, 0.0)
    if score_factors is not None:
        scores = scores * score_factors[:, None]
    dets, keep = suppress(boxes, scores.reshape(-1), labels, nms_cfg)
    if max_num > 0:
        dets, keep = dets[:max_num], keep[:max_num]
    return (dets, labels[keep], keep) if return_inds else (dets, labels[keep])


def align(self: Any, input: Tensor, rois: Tensor) -> Tensor:
    """Takes the place of the forward of mmcv's ``RoIAlign``.

    Args:
        self: The layer.
        input: Feature maps, (N, C, H, W).
        rois: Image of the batch and corners in pixels of the image, (R, 5).

    Returns:
        (R, C, *output_size).
    """
    levels = torch.zeros_like(rois[:, 0], dtype=torch.int64)
    return _align([self], [input], rois, levels)


def extract_regions(
    self: Any, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None
) -> Tensor:
    """Takes the place of the forward of mmdet's ``SingleRoIExtractor``.

    Args:
        self: The extractor.
        feats: Feature maps, (N, C, H, W) each.
        rois: Image of the batch and corners in pixels of the image, (R, 5).
        roi_scale_factor: By how much regions grow.

    Returns:
        (R, C, *output_size).
    """
    levels = self.map_roi_levels(rois, len(feats))
    if roi_scale_factor is not None:
        rois = self.roi_rescale(rois, roi_scale_factor)
    return _align(self.roi_layers, feats, rois, levels)


def paste_masks(
    self: Any,
    mask_preds: Tensor,
    bboxes: Tensor,
    labels: Tensor,
    img_meta: Mapping[str, Any],
    rcnn_test_cfg: Mapping[str, Any],
    rescale: bool = False,
    activate_map: bool = False,
) -> Tensor:
    """Takes the place of ``_predict_by_feat_single`` of mmdet's ``FCNMaskHead``.

    All masks are pasted at once and onto whole images, at the scale of the boxes.

    Args:
        self: The head.
        mask_preds: Logits in the boxes, (K, C, h, w).
        bboxes: Corners in pixels, (K, 4).
        labels: Classes, (K,).
        img_meta: What is known of the image.
        rcnn_test_cfg: The test config of the head.
        rescale: Unused: the image is that which is given.
        activate_map: Whether the logits are probabilities already.

    Returns:
        Whether a pixel is of the object, (K, H, W) of bool.
    """
    height, width = img_meta['ori_shape'][:2]
    probabilities = mask_preds if activate_map else mask_preds.sigmoid()
    if not self.class_agnostic:
        index = labels[:, None, None, None].expand(-1, 1, *mask_preds.shape[2:])
        probabilities = probabilities.gather(1, index)
    x1, y1, x2, y2 = bboxes[:, :, None].unbind(1)
    y = torch.arange(height, device=bboxes.device) + 0.5
    x = torch.arange(width, device=bboxes.device) + 0.5
    # Boxes without area give no mask, and no division by 0.
    y = (y - y1) / (y2 - y1).clamp(min=1e-6) * 2 - 1
    x = (x - x1) / (x2 - x1).clamp(min=1e-6) * 2 - 1
    shape = (bboxes.shape[0], height, width)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3)
    pasted = F.grid_sample(probabilities, grid, align_corners=False)[:, 0]
    return pasted >= rcnn_test_cfg['mask_thr_binary']


class _MaskedRows(TorchFunctionMode):
    """``x[mask]`` keeps all rows, and those without the mask are 0."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__getitem__ and _is_mask(args[1]):
            x, mask = args
            return torch.where(mask.view(-1, *[1] * (x.dim() - 1)), x, torch.zeros_like(x))
        return func(*args, **(kwargs or {}))


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype == torch.bool and index.dim() == 1


def _align(layers: Sequence[Any], maps: Sequence[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
    from mmcv.ops import RoIAlign

    first = layers[0]
    if not isinstance(first, RoIAlign) or first.pool_mode != 'avg':
        raise UserError(f'{first} has no form in ONNX; take RoIAlign')
    scales = [float(layer.spatial_scale) for layer in layers]
    return roi_align_levels(
        list(maps),
        rois,
        levels,
        list(first.output_size),
        scales,
        first.sampling_ratio,
        first.aligned,
    )


def _configs(cfg: Any) -> Iterator[Any]:
    if isinstance(cfg, Mapping):
        yield cfg
        for value in cfg.values():
            yield from _configs(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            yield from _configs(value)
