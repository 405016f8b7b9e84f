"""Time of exported files over that of mmdet's eager predict, batch 1 on the CPU.

    OMP_NUM_THREADS=1 python benchmarks/exported_speed.py

Random weights; medians of interleaved runs, so that only the ratios mean something.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.registry import MODELS

from benchmarks.exports import without_weights
from mmblocks.engine import load_config
from mmblocks.engine.data import scope_of
from mmblocks.export.export import Settings, predict, write
from mmblocks.export.images import random_images
from mmblocks.export.runtime import OnnxFile

NETS = {
    'digits, GhostNet, 160x160': ('digits/retinanet_ghostnet_fpn_digits', (160, 160)),
    'RetinaNet, MobileNetV2, 320x320': (
        'coco/retinanet/retinanet_mobilenetv2_fpn_1x_coco',
        (320, 320),
    ),
}


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=15)
    runs = parser.parse_args().runs
    warnings.filterwarnings('ignore')
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    for name, (config, size) in NETS.items():
        cfg = load_config(f'mmblocks::{config}.py')
        without_weights(cfg.model)
        torch.manual_seed(0)
        with scope_of(cfg):
            model = MODELS.build(cfg.model)
        model.init_weights()
        model.eval()
        (image,) = random_images(1, size)
        with TemporaryDirectory() as folder:
            path = Path(folder, 'model.onnx')
            write(cfg, model, size, Settings(), path)
            file = OnnxFile(path)
        calls = (
            functools.partial(predict, model, image, 100),
            functools.partial(file.run, image[None]),
        )
        times: list[list[float]] = [[], []]
        for _ in range(runs + 2):
            for call, taken in zip(calls, times, strict=True):
                began = time.perf_counter()
                call()
                taken.append(time.perf_counter() - began)
        eager, exported = (statistics.median(taken[2:]) for taken in times)
        print(f'{name}: {exported / eager:.2f} of eager mmdet', flush=True)


if __name__ == '__main__':
    main()
