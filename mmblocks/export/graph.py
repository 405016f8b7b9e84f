"""A detector as one function of an image, and its graph."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from mmblocks.export.any_size import CeilByPadding
from mmblocks.export.fixed_size import fixed_sizes
from mmblocks.utils.errors import UserError, first_line


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
        model: Any = self.model
        data = dict(inputs=images, data_samples=None)
        # mmdet's own would look at the size of the images, which may be any.
        preprocess: Any = ImgDataPreprocessor.forward
        inputs = preprocess(model.data_preprocessor, data)['inputs']
        if self.raw:
            return tuple(_tensors(model(inputs, None, mode='tensor')))
        sample = image_sample(images.shape[2:], inputs.shape[2:])
        (result,) = model.predict(inputs, [sample], rescale=False)
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


def trace(
    detector: ImageToDetections, size: Sequence[int], any_size: bool = False
) -> torch.export.ExportedProgram:
    """Records what a detector computes on an image.

    Args:
        detector: The detector.
        size: Height and width of the image in pixels.
        any_size: Whether other sizes, of as many times `multiple` pixels, can be given to the
            graph.

    Returns:
        The graph.

    Raises:
        UserError: It cannot be recorded.
    """
    images = torch.zeros(1, 3, *size)
    shapes = None
    if any_size:
        times = multiple(detector.model)
        if any(pixels % times for pixels in size):
            raise UserError(f'--dynamic size: --size must be multiples of {times}, not {size}')
        height, width = (times * torch.export.Dim(name, max=4096 // times) for name in 'hw')
        shapes = ({2: height, 3: width},)
    try:
        pools = CeilByPadding() if any_size else contextlib.nullcontext()
        with fixed_sizes(), pools, torch.no_grad():
            return torch.export.export(detector, (images,), dynamic_shapes=shapes, strict=False)
    except UserError:
        raise
    except Exception as error:
        name = type(detector.model).__name__
        raise UserError(
            f'{name} cannot be traced at {size[0]}x{size[1]}: {_reason(error)}'
        ) from error


def output_names(program: torch.export.ExportedProgram, raw: bool) -> list[str]:
    """Returns names for the outputs of a graph.

    Args:
        program: The graph.
        raw: Whether they are the maps of the heads.
    """
    number = len(program.graph_signature.user_outputs)
    if raw:
        return [f'map{i}' for i in range(number)]
    return ['dets', 'labels', 'masks'][:number]


def multiple(model: nn.Module) -> int:
    """Returns of what number of pixels the sides of images of any size are multiples.

    Args:
        model: The detector.
    """
    preprocessor: Any = model.data_preprocessor
    return max(int(preprocessor.pad_size_divisor), 32)


def image_sample(size: Sequence[int], padded: Sequence[int]) -> Any:
    """Returns what mmdet's heads want to know of an image that is taken as it is.

    Args:
        size: Height and width in pixels.
        padded: The same with the padding.
    """
    from mmdet.structures import DetDataSample

    sample = DetDataSample()
    known = dict(
        img_shape=tuple(size),
        ori_shape=tuple(size),
        pad_shape=tuple(padded),
        batch_input_shape=tuple(padded),
        scale_factor=(1.0, 1.0),
    )
    for name, value in known.items():  # set_metainfo would copy sizes that are not known yet
        sample.set_field(value, name, field_type='metainfo')
    return sample


def _tensors(nested: Any) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, (list, tuple)):
        for inner in nested:
            yield from _tensors(inner)


def _reason(error: BaseException) -> str:
    """What torch or mmdet says, and the line of mmdet that it was at."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    places = [
        f'{Path(frame.f_code.co_filename).name}:{frame.f_lineno}'
        for frame in frames
        if f'{os.sep}mmdet{os.sep}' in frame.f_code.co_filename
    ]
    return first_line(error) + (f' (at {places[-1]} of mmdet)' if places else '')
