"""Exported files, and one in place of a detector of mmdet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import Tensor

from mmblocks.export import ops  # noqa: F401 - what a graph of torch.export calls
from mmblocks.export.comparison import Detections
from mmblocks.export.images import on_canvas
from mmblocks.export.onnx_file import need_onnx
from mmblocks.utils.errors import UserError, first_line


class ExportedFile(Protocol):
    """A file of ``mmblocks export``, ready to run.

    Attributes:
        about: What it says of itself.
    """

    about: dict[str, Any]

    def run(self, images: Tensor) -> list[NDArray[Any]]:
        """Returns the outputs for images, (N, 3, H, W)."""
        ...


class OnnxFile:
    """An ONNX file in onnxruntime, on the CPU.

    Args:
        path: The file.

    Raises:
        UserError: It cannot be loaded, or `mmblocks export` has not written it.
    """

    def __init__(self, path: Path | str) -> None:
        need_onnx()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:
            raise UserError(f'{path} cannot be loaded: {first_line(error)}') from error
        about = self.session.get_modelmeta().custom_metadata_map
        if 'mmblocks_version' not in about:
            raise UserError(f'{path} is no file that `mmblocks export` has written')
        self.about = {name: json.loads(value) for name, value in about.items()}

    def run(self, images: Tensor) -> list[NDArray[Any]]:
        """Returns the outputs for images, (N, 3, H, W)."""
        return list(self.session.run(None, {'images': images.numpy()}))


class TorchFile:
    """A graph of torch.export.

    Args:
        path: The file.
    """

    def __init__(self, path: Path | str) -> None:
        extra = {'about': ''}
        self.program = torch.export.load(str(path), extra_files=extra).module()
        self.about = json.loads(extra['about'])

    def run(self, images: Tensor) -> list[NDArray[Any]]:
        """Returns the outputs for images, (N, 3, H, W)."""
        with torch.no_grad():
            return [output.numpy() for output in self.program(images)]


def detections(outputs: Sequence[NDArray[Any]]) -> list[Detections]:
    """Returns what a file has found on each image.

    Args:
        outputs: ``dets``, (N, K, 5), and ``labels``, (N, K).

    Example:
        >>> import numpy as np
        >>> dets = np.array([[[1, 2, 3, 4, 0.5], [0, 0, 0, 0, 0]]])
        >>> detections([dets, np.array([[7, -1]])])[0].labels
        array([7])
    """
    return [
        Detections(dets[labels >= 0, :4], dets[labels >= 0, 4], labels[labels >= 0])
        for dets, labels in zip(*outputs[:2], strict=True)
    ]


class OnnxDetector(BaseModel):
    """Runs an ONNX file as a test loop runs a detector.

    Args:
        path: The file.

    Raises:
        UserError: It cannot be loaded, or it gives no detections.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self.file = OnnxFile(path)
        if self.file.about['raw']:
            raise UserError(f'{path} was exported with --raw: it gives maps and no detections')

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'predict') -> list[Any]:
        """Detects on images that a test pipeline gives.

        Args:
            inputs: Images from 0 to 255, (3, h, w) each.
            data_samples: What is known of them; they get the results as ``pred_instances``.
            mode: ``'predict'``; a file can do nothing else.

        Returns:
            The data samples.
        """
        for image, sample in zip(inputs, data_samples, strict=True):
            sample.pred_instances = self._instances(image, sample.metainfo)
        return list(data_samples)

    def test_step(self, data: Any) -> list[Any]:
        """Detects on a batch of a data loader."""
        return self.forward(**data)

    def _instances(self, image: Tensor, meta: dict[str, Any]) -> InstanceData:
        about = self.file.about
        size = tuple(about['size'])
        if about['dynamic'] == 'size':
            size = tuple(
                -(-pixels // about['multiple']) * about['multiple'] for pixels in image.shape[1:]
            )
        if image.shape[1] > size[0] or image.shape[2] > size[1]:
            raise UserError(
                f'a test image has {image.shape[1]}x{image.shape[2]} pixels and the file takes '
                f'{size[0]}x{size[1]}: export it with a --size of at least that'
            )
        outputs = self.file.run(on_canvas(image, size, about['pad_color'])[None])
        (found,) = detections(outputs)
        boxes = torch.from_numpy(found.boxes)
        ends = boxes.new_tensor(image.shape[:0:-1]).repeat(2)
        scale = boxes.new_tensor(meta.get('scale_factor', (1.0, 1.0))).repeat(2)
        instances = InstanceData(
            bboxes=boxes.clamp(min=boxes.new_zeros(4), max=ends) / scale,
            scores=torch.from_numpy(found.scores),
            labels=torch.from_numpy(found.labels),
        )
        if len(outputs) > 2:
            masks = torch.from_numpy(outputs[2][outputs[1] >= 0])[:, None].float()
            masks = masks[..., : image.shape[1], : image.shape[2]]
            whole = F.interpolate(masks, tuple(meta['ori_shape'][:2]), mode='bilinear')
            instances.masks = whole[:, 0] >= 0.5
        return instances
