"""The command ``mmblocks demo`` and ``tools/demo.py``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmblocks.cli.arguments import add_options, add_scenes, make_parser
from mmblocks.cli.command import command
from mmblocks.digits.dataset import DigitsSettings
from mmblocks.digits.demo import CONFIG, run_demo
from mmblocks.engine import load_config


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser(
        'Train a small detector on generated scenes of digits and show what it finds. '
        'Run again, it reuses what is there and goes on with what was interrupted.'
    )
    parser.add_argument('--config', default=CONFIG, help='config of a detector of digits')
    parser.add_argument('--work-dir', help='default: work_dirs/demo/<config name>')
    parser.add_argument('--retrain', action='store_true', help='train anew')
    add_options(parser, '--cfg-options', 'change the config')
    settings = DigitsSettings()
    add_scenes(parser, train=settings.train_scenes, val=settings.val_scenes)
    return parser.parse_args()


@command
def main() -> None:
    """Runs the demo; ends the process with exit code 1 if nothing was detected."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    work_dir = Path(args.work_dir or Path('work_dirs', 'demo', Path(cfg.filename).stem))
    if not run_demo(cfg, work_dir, args.train_scenes, args.val_scenes, args.retrain):
        sys.exit(1)
