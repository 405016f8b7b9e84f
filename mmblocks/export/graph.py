"""A detector as one function of an image, and its graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from mmblocks.export.fixed_size import fixed_sizes


class ImageToDetections(nn.Module):
    """A detector of mmdet with its preprocessing, from an image to rows of detections.

    Args:
        model: The detector, in eval mode, after `move_to_nms`.
        max_per_img: How many rows there are; those left over have score 0 and label -1.
        raw: Whether to stop at the maps of the heads.
    """

    def __init__(self, model: nn.Module, max_per_img: int, raw: bool = False) -> None:
        super().__init__()
        self.model = model
        self.max_per_img = max_per_img
        self.raw = raw

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detects.

        Args:
            images: As mmdet's pipelines load them: BGR from 0 to 255, (1, 3, H, W).

        Returns:
            Boxes (x1, y1, x2, y2) in pixels with scores, (1, K, 5), their labels, (1, K), and
            where the detector gives masks those, (1, K, H, W). Or the maps of the heads.
        """
        preprocessor = self.model.data_preprocessor
        data = dict(inputs=images, data_samples=None)
        inputs = ImgDataPreprocessor.forward(preprocessor, data)['inputs']
        if self.raw:
            return tuple(_tensors(self.model(inputs, None, mode='tensor')))
        sample = image_sample(images.shape[2:], inputs.shape[2:])
        (result,) = self.model.predict(inputs, [sample], rescale=False)
        return self._rows(result.pred_instances)

    def _rows(self, found: Any) -> tuple[Tensor, ...]:
        num = self.max_per_img
        boxes, scores, labels = found.bboxes[:num], found.scores[:num], found.labels[:num]
        valid = scores > 0
        boxes = torch.where(valid[:, None], boxes, 0.0)
        rows = [torch.cat([boxes, scores[:, None]], dim=1), torch.where(valid, labels, -1)]
        if 'masks' in found:
            rows.append(found.masks[:num] & valid[:, None, None])
        return tuple(row[None] for row in rows)


def trace(detector: ImageToDetections, size: Sequence[int]) -> torch.export.ExportedProgram:
    """Records what a detector computes on an image.

    Args:
        detector: The detector.
        size: Height and width of the image in pixels.

    Returns:
        The graph.
    """
    images = torch.zeros(1, 3, *size)
    with fixed_sizes(), torch.no_grad():
        return torch.export.export(detector, (images,), strict=False)


def image_sample(size: Sequence[int], padded: Sequence[int]) -> Any:
    """Returns what mmdet's heads want to know of an image that is taken as it is.

    Args:
        size: Height and width in pixels.
        padded: The same with the padding.
    """
    from mmdet.structures import DetDataSample

    return DetDataSample(
        metainfo=dict(
            img_shape=tuple(size),
            ori_shape=tuple(size),
            pad_shape=tuple(padded),
            batch_input_shape=tuple(padded),
            scale_factor=(1.0, 1.0),
        )
    )


def _tensors(nested: Any) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, (list, tuple)):
        for inner in nested:
            yield from _tensors(inner)
