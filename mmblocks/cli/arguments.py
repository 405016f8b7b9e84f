"""What the parsers of several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmblocks.engine.launch import LAUNCHERS
from mmblocks.utils.key_values import KeyValues


def make_parser(description: str, **options: Any) -> argparse.ArgumentParser:
    """Returns the parser of a command, with the option that all commands have.

    Args:
        description: What the command does, in one sentence.
        **options: Further arguments of ``argparse.ArgumentParser``.

    Example:
        >>> make_parser('Count.').parse_args(['--debug'])
        Namespace(debug=True)
    """
    parser = argparse.ArgumentParser(description=description, **options)
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser


def add_options(parser: argparse.ArgumentParser, flag: str, help: str) -> None:
    """Adds an option that takes ``KEY=VALUE`` pairs.

    Args:
        parser: The command's parser.
        flag: Name of the option.
        help: What it does.

    Example:
        >>> parser = make_parser('Count.')
        >>> add_options(parser, '--cfg-options', 'change the config')
        >>> parser.parse_args(['--cfg-options', 'a.b=1', 'c=x']).cfg_options
        {'a.b': 1, 'c': 'x'}
    """
    parser.add_argument(
        flag, nargs='+', action=KeyValues, default={}, metavar='KEY=VALUE', help=help
    )


def make_runner_parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser with the arguments that training and testing share.

    Args:
        description: What the command does, in one sentence.
    """
    parser = make_parser(description)
    parser.add_argument('config', help='config file, or package::path such as mmdet::ssd/...py')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints; default ./work_dirs/<config name>'
    )
    add_options(
        parser,
        '--cfg-options',
        'change the config: a.b=1, a list as a=[1,2] or a=1,2, an element as a.0.b=1; quotes '
        'within the value keep its commas',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, help='set by older launchers; ignored else'
    )
    return parser


def parse_runner_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses the command line of training or testing; sets ``LOCAL_RANK`` where it is passed.

    Args:
        parser: Made by `make_runner_parser`.
    """
    args = parser.parse_args()
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def add_scenes(parser: argparse.ArgumentParser, **scenes: int) -> None:
    """Adds options for numbers of digits scenes.

    Args:
        parser: The command's parser.
        **scenes: Default number of each split.

    Example:
        >>> parser = make_parser('Draw.')
        >>> add_scenes(parser, train=600)
        >>> parser.parse_args([]).train_scenes
        600
    """
    for split, number in scenes.items():
        parser.add_argument(
            f'--{split}-scenes', type=int, default=number, metavar='N', help='default: %(default)s'
        )


def add_comparison(parser: argparse.ArgumentParser, work_dir: str, runs: Sequence[str]) -> None:
    """Adds the options of a comparison of several trainings.

    Args:
        parser: The command's parser.
        work_dir: Default folder for their work folders.
        runs: Names of the trainings.
    """
    parser.add_argument('--work-dir', type=Path, default=Path(work_dir))
    parser.add_argument('--only', nargs='+', metavar='RUN', help=f'of {", ".join(runs)}')
    parser.add_argument(
        '--timed-steps', type=int, default=15, metavar='N', help='default: %(default)s'
    )
    parser.add_argument('--retrain', action='store_true', help='train anew')
