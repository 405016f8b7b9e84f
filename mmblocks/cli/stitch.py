"""The command ``mmblocks stitch`` and ``tools/stitch.py``."""

from __future__ import annotations

import argparse

from mmblocks.cli.arguments import add_comparison, add_scenes, make_parser
from mmblocks.cli.command import command
from mmblocks.digits.stitch import RUNS, run_stitch


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser(
        'Train nets on the digits with other layers stitched in, and compare them with '
        'the plain nets. Run again, it reuses what is there.'
    )
    add_comparison(parser, 'work_dirs/stitch', [run.name for run in RUNS])
    add_scenes(parser, train=600, val=200)
    parser.add_argument('--epochs', type=int, default=6, metavar='N', help='default: %(default)s')
    return parser.parse_args()


@command
def main() -> None:
    """Runs the example and prints its table."""
    options = vars(parse_args())
    options.pop('debug')
    run_stitch(**options)
