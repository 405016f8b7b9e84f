"""PyTorch forms of mmcv's ops against the compiled ones, alone and inside detectors of mmdet.

.venv/bin/python benchmarks/ops.py prints the time of either as the median of runs that take turns,
and ours as a share of the compiled ops', which `make peers` brings. Threads: OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import mmblocks  # noqa: F401 - before mmcv.ops, which needs the forms that it serves

# isort: split
import mmcv.ops
import torch
import torch.nn.functional as F
from compiled import load_compiled_ops, use
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from rich.console import Console
from rich.table import Table
from torch import nn

from mmblocks.engine import load_config
from mmblocks.ops.finder import ExtLoader

DETECTORS = (
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
)


def alone() -> Iterator[tuple[str, Callable[[], object]]]:
    """The ops that detectors spend their time in."""
    maps = torch.randn(2, 256, 40, 40, requires_grad=True)
    start = torch.rand(512, 2) * 320
    rois = torch.cat([torch.randint(0, 2, (512, 1)), start, start + torch.rand(512, 2) * 128], 1)

    def pool(backward: bool) -> None:
        out = mmcv.ops.roi_align(maps, rois, (7, 7), 0.125, 0, 'avg', True)
        if backward:
            torch.autograd.grad(out.sum(), maps)

    logits, target = torch.randn(20_000, 80, requires_grad=True), torch.randint(0, 81, (20_000,))
    one_hot = F.one_hot(target, 81)[:, :80].float()

    def focal_loss() -> None:
        if lacks_focal_loss():
            loss = py_sigmoid_focal_loss(logits, one_hot, reduction='none')
        else:
            loss = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
        torch.autograd.grad(loss.sum(), logits)

    yield "sigmoid focal loss, forward and backward, to mmdet's in Python", focal_loss
    yield 'RoIAlign of 512 regions, 256 channels, forward', lambda: pool(False)
    yield 'the same, forward and backward', lambda: pool(True)
    for count in (1000, 2000, 5000):
        corner = torch.rand(count // 4, 2).repeat_interleave(4, 0) * 640 + torch.randn(count, 2) * 4
        boxes = torch.cat([corner, corner + torch.rand(count, 2) * 256], 1)
        scores, labels = torch.rand(count), torch.randint(0, 80, (count,))
        yield (
            f'NMS of {count:,} boxes',
            lambda boxes=boxes, scores=scores: mmcv.ops.nms(boxes, scores, 0.7),
        )
        yield (
            'the same, of 80 classes',
            lambda boxes=boxes, scores=scores, labels=labels: mmcv.ops.batched_nms(
                boxes, scores, labels, dict(type='nms', iou_threshold=0.5)
            ),
        )


def lacks_focal_loss() -> bool:
    """Says whether mmcv.ops is on its compiled ops, which have none for the CPU."""
    return mmcv.ops.focal_loss.ext_module.__name__ == 'compiled._ext'


def in_detectors() -> Iterator[tuple[str, Callable[[], object]]]:
    """Training steps and predictions of detectors with ResNet-18, two images of 320x320."""
    register_all_modules(init_default_scope=True)
    for name in DETECTORS:
        cfg = load_config(f'mmdet::{name}.py')
        cfg.model.backbone = dict(type='mmblocks.ResNet', depth=18)
        cfg.model.neck.in_channels = [64, 128, 256, 512]
        detector: nn.Module = MODELS.build(cfg.model)
        data = demo_mm_inputs(2, [[3, 320, 320]] * 2, num_classes=80, with_mask=True)

        def train(detector: nn.Module = detector, data: dict = data) -> None:
            torch.manual_seed(0)  # the same samples of regions
            detector.train()
            losses = detector(**detector.data_preprocessor(data, training=True), mode='loss')
            detector.zero_grad()
            detector.parse_losses(losses)[0].backward()

        def predict(detector: nn.Module = detector, data: dict = data) -> None:
            detector.eval()
            with torch.no_grad():
                detector(**detector.data_preprocessor(data, training=False), mode='predict')

        yield f'{cfg.model.type}, a training step', train
        yield f'{cfg.model.type}, a prediction', predict


def compare(
    run: Callable[[], object], stacks: list[ModuleType], rounds: int
) -> tuple[float, float]:
    """Median seconds on each of two stacks, which take turns; the first turn warms up."""
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for ext, kept in zip(stacks, times, strict=True):
            use(ext)
            start = time.perf_counter()
            run()
            if turn:
                kept.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=7, help='runs of each, in turns')
    parser.add_argument('--alone', action='store_true', help='leave the detectors out')
    args = parser.parse_args()
    forms = ModuleType('mmcv._ext')
    ExtLoader(None).exec_module(forms)
    stacks = [load_compiled_ops(), forms]
    torch.manual_seed(0)
    table = Table('', 'compiled', 'ours', 'ratio', title='float32, milliseconds')
    for cases in (alone,) if args.alone else (alone, in_detectors):
        for name, run in cases():
            theirs, ours = compare(run, stacks, args.rounds)
            table.add_row(name, f'{theirs * 1e3:.1f}', f'{ours * 1e3:.1f}', f'{ours / theirs:.2f}')
    Console(width=100).print(table)


if __name__ == '__main__':
    main()
