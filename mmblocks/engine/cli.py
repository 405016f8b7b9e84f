"""The command lines of ``tools/train.py`` and ``tools/test.py``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS

from mmblocks.engine.config import load_config
from mmblocks.engine.data import class_of
from mmblocks.engine.launch import LAUNCHERS, end_process_group, end_workers
from mmblocks.engine.runner import build_runner, prepare
from mmblocks.utils.errors import UserError, command, note, tool_parser, warn
from mmblocks.utils.key_values import KeyValues


@command
def train() -> None:
    """Trains the detector of a config."""
    parser = _parser('Train a detector')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size (auto_scale_lr in the config)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint, or without a path from the latest in the work folder',
    )
    parser.add_argument(
        '--keep-going',
        action='store_true',
        help='train on when the loss or the weights are not finite any more',
    )
    args = _parse(parser)
    cfg = prepare(
        load_config(args.config, args.cfg_options),
        work_dir=args.work_dir,
        launcher=args.launcher,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        resume=args.resume,
    )
    _run(cfg, 'train', keep_going=args.keep_going)
    end_process_group()


@command
def test() -> None:
    """Tests a checkpoint with the detector of a config."""
    parser = _parser('Test a detector')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='write the predictions to this pickle file')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--show-dir',
        help='write pictures of the predictions to this folder in <work dir>/<time>',
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds that --show shows a picture'
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='augment while testing: as tta_model and tta_pipeline say, else by flips',
    )
    args = _parse(parser)
    if args.out is not None and not args.out.endswith(('.pkl', '.pickle')):
        raise UserError(f'--out must end in .pkl or .pickle, not {args.out}')
    cfg = load_config(args.config, args.cfg_options)
    cfg = prepare(cfg, work_dir=args.work_dir, launcher=args.launcher)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.show or args.show_dir:
        if 'visualization' not in (cfg.get('default_hooks') or {}):
            _check_detector(cfg, '--show-dir' if args.show_dir else '--show')
        _draw(cfg, args)
    if args.tta:
        if cfg.get('tta_model') is None or cfg.get('tta_pipeline') is None:
            _check_detector(cfg, '--tta')
        _augment(cfg)
    _run(cfg, 'test', out=args.out)
    end_process_group()


def _parser(description: str) -> argparse.ArgumentParser:
    """The arguments that training and testing share."""
    parser = tool_parser(description)
    parser.add_argument('config', help='config file, or package::path such as mmdet::ssd/...py')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints; default ./work_dirs/<config name>'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='change the config: a.b=1, a list as a=[1,2] or a=1,2, an element as a.0.b=1; quotes '
        'within the value keep its commas',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, help='set by older launchers; ignored else'
    )
    return parser


def _parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    args = parser.parse_args()
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def _run(cfg: Config, task: str, *, out: str | None = None, keep_going: bool = False) -> None:
    try:
        from mmdet.evaluation import DumpDetResults
        from mmdet.utils import setup_cache_size_limit_of_dynamo
    except ModuleNotFoundError as error:
        if error.name != 'mmdet':
            raise
        raise UserError('mmdet is missing; install mmblocks[openmmlab]') from error
    setup_cache_size_limit_of_dynamo()
    runner = build_runner(cfg, task, keep_going)
    if task == 'train':
        runner.train()
    else:
        if out is not None:
            runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=out))
        if not runner.test():
            warn('there is no metric: nothing was detected, or the evaluator gives none')
    end_workers(runner)


def _check_detector(cfg: Config, flag: str) -> None:
    """Raises unless the model is a detector of mmdet, which alone has parts for these options."""
    kind = class_of(cfg.model, MODELS, cfg)
    if kind is not None and not any(base.__name__ == 'BaseDetector' for base in kind.__mro__):
        raise UserError(f'{flag} is for detectors of mmdet; the model is a {kind.__name__}')


def _draw(cfg: Config, args: argparse.Namespace) -> None:
    """Makes mmdet's visualization hook draw every test image."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('visualization', ConfigDict(type='mmdet.DetVisualizationHook'))
    hook.update(draw=True)
    if args.show:
        hook.update(show=True, wait_time=args.wait_time)
    if args.show_dir:
        hook.update(test_out_dir=args.show_dir)
        note(f'pictures go to {Path(cfg.work_dir, "<time>", args.show_dir)}')
    if cfg.get('visualizer') is None:  # MMEngine's own draws no boxes
        cfg.visualizer = {'type': 'mmdet.DetLocalVisualizer', 'name': 'visualizer'}


def _augment(cfg: Config) -> None:
    """Wraps the model for test-time augmentation, as the config says or with flips."""
    nms = {'type': 'nms', 'iou_threshold': 0.5}
    default = {'type': 'DetTTAModel', 'tta_cfg': {'nms': nms, 'max_per_img': 100}}
    tta_model = cfg.get('tta_model') or default
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if cfg.get('tta_pipeline') is None:
        keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
        pack = {'type': 'PackDetInputs', 'meta_keys': (*keys, 'flip', 'flip_direction')}
        flips = [{'type': 'RandomFlip', 'prob': p} for p in (1.0, 0.0)]
        augment = {'type': 'TestTimeAug', 'transforms': [flips, [pack]]}
        cfg.tta_pipeline = [*dataset.pipeline[:-1], augment]
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**tta_model, module=cfg.model)
