"""The command ``mmblocks train`` and ``tools/train.py``."""

from __future__ import annotations

import argparse

from mmblocks.cli.arguments import make_runner_parser, parse_runner_args
from mmblocks.cli.command import command
from mmblocks.engine import load_config, prepare
from mmblocks.engine.run import run


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_runner_parser('Train a detector')
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
    return parse_runner_args(parser)


@command
def main() -> None:
    """Trains the detector of a config."""
    args = parse_args()
    cfg = prepare(
        load_config(args.config, args.cfg_options),
        work_dir=args.work_dir,
        launcher=args.launcher,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        resume=args.resume,
    )
    run(cfg, 'train', keep_going=args.keep_going)
