"""The command ``mmblocks transfer`` and ``tools/transfer.py``."""

from __future__ import annotations

import argparse

from mmblocks.cli.arguments import add_comparison, add_scenes, make_parser
from mmblocks.cli.command import command
from mmblocks.digits.transfer import RUNS, run_transfer


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser(
        'Pre-train a detector on the digits 0 to 4, fine-tune it on 5 to 9 with a '
        'tenth of the scenes, frozen at several depths, and compare with training from scratch. '
        'Run again, it reuses what is there.'
    )
    add_comparison(parser, 'work_dirs/transfer', [run.name for run in RUNS])
    add_scenes(parser, source=600, target=60, val=200)
    parser.add_argument('--epochs', type=int, metavar='N', help="default: the config's")
    return parser.parse_args()


@command
def main() -> None:
    """Runs the example and prints its table."""
    options = vars(parse_args())
    options.pop('debug')
    run_transfer(**options)
