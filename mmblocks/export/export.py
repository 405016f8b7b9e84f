"""From a config and a checkpoint to a file that was tried out."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor, nn

from mmblocks.export.comparison import Detections, compare, total
from mmblocks.export.detector import (
    class_names,
    image_size,
    limits,
    load_detector,
    pad_color,
    set_limits,
)
from mmblocks.export.fixed_size import move_to_nms
from mmblocks.export.graph import ImageToDetections, image_sample, multiple, output_names, trace
from mmblocks.export.images import random_images, test_images
from mmblocks.export.onnx_file import for_each_image, need_onnx, save_onnx, to_onnx
from mmblocks.export.runtime import ExportedFile, OnnxFile, TorchFile, detections
from mmblocks.inference import to_inference
from mmblocks.utils.errors import UserError, warn
from mmblocks.version import __version__

BOX_TOLERANCE = 0.1  # pixels
SCORE_TOLERANCE = 1e-3
MAP_TOLERANCE = 1e-3  # of the largest value
_TRIED = 4  # images
_SUFFIXES = {'onnx': '.onnx', 'torch': '.pt2'}
_FILES: dict[str, Callable[[Path], ExportedFile]] = {'onnx': OnnxFile, 'torch': TorchFile}


@dataclass(frozen=True)
class Settings:
    """What an exported file is to be.

    Attributes:
        size: Height and width of its images in pixels; None takes those of the test images.
        dynamic: ``'batch'`` for any number of images, ``'size'`` for any size; None for one image
            of one size.
        max_per_img: Detections of an image at most; None takes what the config says.
        score_thr: Their least score; None likewise.
        raw: Whether to stop at the maps of the heads.
        format: ``'onnx'``, or ``'torch'`` for a graph of torch.export.
    """

    size: tuple[int, int] | None = None
    dynamic: str | None = None
    max_per_img: int | None = None
    score_thr: float | None = None
    raw: bool = False
    format: str = 'onnx'


def export(cfg: Config, checkpoint: str, out: Path, settings: Settings) -> str:
    """Writes a detector to a file, runs it, and compares it with mmdet.

    Args:
        cfg: The config; it is not changed.
        checkpoint: Path or address of its weights.
        out: The file to write.
        settings: What it is to be.

    Returns:
        What was written and how far its results are from mmdet's.

    Raises:
        UserError: The detector cannot be exported, or the file finds something else than mmdet; no
            file is left.
    """
    check_out(out, settings)
    need_onnx()
    cfg = copy.deepcopy(cfg)
    set_limits(cfg, settings.max_per_img, settings.score_thr)
    model = load_detector(cfg, checkpoint)
    size = image_size(cfg, model, settings.size)
    images = test_images(cfg, _TRIED, size, pad_color(model))
    source = 'test images' if images else 'random images'
    images = images or random_images(_TRIED, size)
    if settings.dynamic == 'size':
        images = [*images, *random_images(_TRIED, (size[0] + multiple(model), size[1]))]
    unfinished = out.with_name(f'.unfinished-{out.name}')
    try:
        write(cfg, model, size, settings, unfinished)
        said = verify(cfg, model, images, unfinished, settings)
        os.replace(unfinished, out)
    finally:
        unfinished.unlink(missing_ok=True)
    return f'{out}: {said} (on {len(images)} {source} of {size[0]}x{size[1]})'


def check_out(out: Path, settings: Settings) -> None:
    """Raises unless a file of this name can be written.

    Args:
        out: The file.
        settings: What it is to be.

    Raises:
        UserError: Its ending is another, or its folder is not there.
    """
    suffix = _SUFFIXES[settings.format]
    if out.suffix != suffix:
        raise UserError(f'--out must end in {suffix}, not {out}')
    if not out.absolute().parent.is_dir():
        raise UserError(f'--out {out}: there is no folder {out.parent}')
    if settings.format == 'torch' and settings.dynamic == 'batch':
        raise UserError('--dynamic batch is for --format onnx')


def write(
    cfg: Config, model: nn.Module, size: tuple[int, int], settings: Settings, path: Path
) -> None:
    """Writes a detector to a file.

    Args:
        cfg: Its config.
        model: The detector; it is not changed.
        size: Height and width of the images in pixels.
        settings: What the file is to be.
        path: The file.

    Raises:
        UserError: The detector cannot be traced, or has no form in ONNX.
    """
    import mmdet

    max_per_img, score_thr = limits(cfg)
    fast = to_inference(model)
    move_to_nms(fast, max_per_img)
    detector = ImageToDetections(fast, max_per_img, settings.raw).eval()
    program = trace(detector, size, settings.dynamic == 'size')
    outputs = output_names(program, settings.raw)
    about = dict(
        mmblocks_version=__version__,
        mmdet_version=mmdet.__version__,
        detector=cfg.model.type,
        classes=class_names(cfg),
        size=size,
        dynamic=settings.dynamic,
        max_per_img=max_per_img,
        score_thr=score_thr,
        pad_color=pad_color(model),
        channels='BGR',
        raw=settings.raw,
        multiple=multiple(model),
    )
    if settings.format == 'torch':
        torch.export.save(program, str(path), extra_files={'about': json.dumps(about)})
        return
    onnx_model = to_onnx(program, outputs)
    if settings.dynamic == 'batch':
        onnx_model = for_each_image(onnx_model, outputs)
    save_onnx(onnx_model, path, about)


def verify(
    cfg: Config, model: nn.Module, images: Sequence[Tensor], path: Path, settings: Settings
) -> str:
    """Compares what a file gives for images with what mmdet gives.

    Args:
        cfg: The config.
        model: The detector.
        images: Images, (3, H, W) each.
        path: The file.
        settings: What it was to be.

    Returns:
        The largest differences.

    Raises:
        UserError: They are above what floating-point numbers explain.
    """
    file = _FILES[settings.format](path)
    outputs = _run(file, images, settings)
    if settings.raw:
        apart = max(map(_apart, outputs, (raw_maps(model, image) for image in images)))
        said, fails = (
            f'largest difference of a map {apart:.2g} of its maximum',
            apart > MAP_TOLERANCE,
        )
    else:
        max_per_img, score_thr = limits(cfg)
        differences = total(
            [
                compare(predict(model, image, max_per_img), found, max_per_img, score_thr)
                for image, output in zip(images, outputs, strict=True)
                for found in detections(output)
            ]
        )
        said, fails = str(differences), differences.exceed(BOX_TOLERANCE, SCORE_TOLERANCE)
        if not differences.compared and not fails:
            warn('nothing was found on the images, so that nothing could be compared')
    if fails:
        raise UserError(f'the file does not give what mmdet gives, and is not kept: {said}')
    return said


def predict(model: Any, image: Tensor, max_per_img: int) -> Detections:
    """Returns what mmdet finds on an image.

    Args:
        model: The detector.
        image: BGR from 0 to 255, (3, H, W).
        max_per_img: How many detections to return at most.
    """
    sample = image_sample(image.shape[1:], image.shape[1:])
    with torch.no_grad():
        (result,) = model.test_step(dict(inputs=[image], data_samples=[sample]))
    found = result.pred_instances[:max_per_img].numpy()
    return Detections(found.bboxes, found.scores, found.labels)


def raw_maps(model: nn.Module, image: Tensor) -> list[NDArray[Any]]:
    """Returns the maps of the heads for an image.

    Args:
        model: The detector.
        image: BGR from 0 to 255, (3, H, W).
    """
    with torch.no_grad():
        return [x.numpy() for x in ImageToDetections(model, 0, raw=True)(image[None])]


def _run(
    file: ExportedFile, images: Sequence[Tensor], settings: Settings
) -> list[list[NDArray[Any]]]:
    """Runs a file on all images at once, if it can, and returns the outputs of each."""
    if settings.dynamic != 'batch':
        return [file.run(image[None]) for image in images]
    outputs = file.run(torch.stack(list(images)))
    return [[output[i : i + 1] for output in outputs] for i in range(len(images))]


def _apart(found: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]]) -> float:
    pairs = zip(found, wanted, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
