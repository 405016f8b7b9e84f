"""The command ``mmblocks test`` and ``tools/test.py``."""

from __future__ import annotations

import argparse

from mmblocks.cli.arguments import make_runner_parser, parse_runner_args
from mmblocks.cli.command import command
from mmblocks.engine import load_config, prepare
from mmblocks.engine.run import run
from mmblocks.engine.testing import augment_tests, draw_predictions, speed_up_tests
from mmblocks.export.runtime import OnnxDetector
from mmblocks.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    """Reads the command line.

    Raises:
        UserError: The predictions are to go to a file that is no pickle.
    """
    parser = make_runner_parser('Test a detector')
    parser.add_argument('checkpoint', help='checkpoint file, or ONNX file of `mmblocks export`')
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
    parser.add_argument(
        '--fast', action='store_true', help='test the inference form, which gives the same sooner'
    )
    args = parse_runner_args(parser)
    if args.out is not None and not args.out.endswith(('.pkl', '.pickle')):
        raise UserError(f'--out must end in .pkl or .pickle, not {args.out}')
    return args


@command
def main() -> None:
    """Tests a checkpoint with the detector of a config."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    cfg = prepare(cfg, work_dir=args.work_dir, launcher=args.launcher)
    is_exported = args.checkpoint.endswith('.onnx')
    cfg.load_from, cfg.resume = None if is_exported else args.checkpoint, False
    if args.show or args.show_dir:
        draw_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.tta:
        augment_tests(cfg)
    if args.fast:
        speed_up_tests(cfg)
    run(cfg, 'test', out=args.out, model=_exported(args) if is_exported else None)


def _exported(args: argparse.Namespace) -> OnnxDetector:
    for flag in ('tta', 'fast'):
        if getattr(args, flag):
            raise UserError(f'--{flag} is for checkpoints; {args.checkpoint} is an exported file')
    return OnnxDetector(args.checkpoint)
