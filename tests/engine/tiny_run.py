"""A detector so small that it learns five pictures by heart in seconds, and ways to run it."""

import atexit
import contextlib
import functools
import importlib
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope

ROOT = Path(__file__).parents[2]
EPOCHS = 24
# What a runner sets for the whole process, under its name and second.
GLOBALS = (DefaultScope, MessageHub, MMLogger)
CONFIG = """
default_scope = 'mmdet'
data_root = 'data/'
metainfo = dict(classes=('red', 'green'))
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[0.0, 0.0, 0.0], std=[60.0, 60.0, 60.0],
        bgr_to_rgb=True, pad_size_divisor=32),
    backbone=dict(
        type='ResNet', depth=18, base_channels=8, out_indices=(1, 2, 3), norm_eval=False,
        zero_init_residual=False),
    neck=dict(type='FPN', in_channels=[16, 32, 64], out_channels=16, num_outs=3),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=16, stacked_convs=1, feat_channels=16,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=3, scales_per_octave=1, ratios=[1.0],
            strides=[8, 16, 32]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0,
            ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=100, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=10))
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
dataset = dict(
    type='CocoDataset', data_root=data_root, metainfo=metainfo, ann_file='annotations.json',
    data_prefix=dict(img='pictures/'), pipeline=pipeline)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dataset)
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file='data/annotations.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01))
param_scheduler = [dict(
    type='OneCycleLR', eta_max=0.01, total_steps=2, by_epoch=True, convert_to_iter_based=True)]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=2),
    visualization=dict(type='DetVisualizationHook'))
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
randomness = dict(seed=0)
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def last_error(self):
        """What the command gave up with."""
        lines = [line for line in self.err.splitlines() if 'error:' in line]
        return lines[-1] if lines else ''

    def metrics(self, kind):
        """The metrics of the last line of the log for 'val' or 'test'."""
        line = [line for line in self.out.splitlines() if f'Epoch({kind})' in line][-1]
        words = line.split()
        return {
            name.rstrip(':'): float(value)
            for name, value in itertools.pairwise(words)
            if name.startswith('coco/')
        }


def write_workspace(folder, pictures=5):
    """Writes the config tiny.py and its pictures of red and green squares into a folder."""
    folder = Path(folder)
    (folder / 'data' / 'pictures').mkdir(parents=True)
    (folder / 'tiny.py').write_text(CONFIG)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(pictures):
        picture = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        x, y = (int(v) for v in rng.integers(0, 40, 2))
        category = 1 + i % 2
        picture[y : y + 20, x : x + 20] = ((30, 30, 250), (30, 250, 30))[i % 2]
        cv2.imwrite(str(folder / 'data' / 'pictures' / f'{i}.png'), picture)
        images.append(dict(id=i + 1, file_name=f'{i}.png', width=64, height=64))
        box = dict(bbox=[x, y, 20, 20], area=400, iscrowd=0, category_id=category)
        annotations.append(dict(id=i + 1, image_id=i + 1, **box))
    categories = [dict(id=1, name='red'), dict(id=2, name='green')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'data' / 'annotations.json').write_text(json.dumps(content))
    return folder


def tool(name, *args, folder):
    """Runs tools/<name>.py in this process, with a folder as the current one."""
    main = importlib.import_module(f'mmblocks.cli.{name}').main
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv, here = sys.argv, Path.cwd()
    try:
        sys.argv = [f'{name}.py', *(str(arg) for arg in args)]
        os.chdir(folder)
        with keep_globals(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
        os.chdir(here)
    return Outcome(code, out.getvalue() + err.getvalue(), err.getvalue())


@contextlib.contextmanager
def keep_globals():
    """Begins without what runners set for the whole process, and puts it back in the end."""
    kept = [(cls, dict(cls._instance_dict)) for cls in GLOBALS]
    for cls in GLOBALS:
        cls._instance_dict.clear()
    try:
        yield
    finally:
        for cls, instances in kept:
            cls._instance_dict.clear()
            cls._instance_dict.update(instances)


def environment(folder):
    """The environment of a user who has installed the package and imports modules of a folder."""
    # An empty entry would be the current folder, whatever it is.
    paths = [ROOT, folder, *filter(None, os.environ.get('PYTHONPATH', '').split(os.pathsep))]
    path = os.pathsep.join(map(str, paths))
    return {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}


def shell(*command, folder, timeout=240):
    """Runs a command in a folder as a user would."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Outcome(done.returncode, done.stdout + done.stderr, done.stderr)


def torchrun(name, *args, folder):
    """Runs tools/<name>.py in two processes on the CPU."""
    run = (sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2')
    return shell(*run, ROOT / 'tools' / f'{name}.py', *args, folder=folder)


@functools.cache
def trained():
    """A folder where tools/train.py has trained tiny.py into work/, and what it said.

    Shared by all tests of a session: read it, write elsewhere.
    """
    temporary = tempfile.TemporaryDirectory()
    atexit.register(temporary.cleanup)
    folder = write_workspace(Path(temporary.name, 'workspace'))
    options = [f'train_cfg.max_epochs={EPOCHS}', f'param_scheduler.0.total_steps={EPOCHS}']
    options += [f'train_cfg.val_interval={EPOCHS}', f'default_hooks.checkpoint.interval={EPOCHS}']
    outcome = tool(
        'train', 'tiny.py', '--work-dir', 'work', '--cfg-options', *options, folder=folder
    )
    assert outcome.code == 0, outcome.out[-3000:]
    return folder, outcome
