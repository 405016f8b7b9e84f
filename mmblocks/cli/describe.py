"""The command ``mmblocks describe`` and ``tools/describe_backbones.py``."""

from __future__ import annotations

import argparse
from typing import Any

from mmblocks.cli.arguments import add_options, make_parser
from mmblocks.cli.command import command
from mmblocks.describe.pages import write_tables
from mmblocks.describe.structure import structure
from mmblocks.describe.table import backbones_table, weights_table
from mmblocks.engine import load_config
from mmblocks.swap.detector import find_detector
from mmblocks.swap.outputs import check_options
from mmblocks.utils.errors import UserError, first_line
from mmblocks.utils.key_values import nested
from mmblocks.utils.types import ConfigType


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser('Print the table of backbones and that of whose weights they load.')
    parser.add_argument(
        '--write-docs',
        action='store_true',
        help='put the tables into the README and the documentation of a checkout',
    )
    parser.add_argument(
        '--show',
        metavar='WHAT',
        help='draw the structure of a backbone instead: its name, or a config that uses it',
    )
    add_options(
        parser,
        '--backbone-options',
        "arguments of the backbone, in place of the config's where --show names one",
    )
    parser.add_argument(
        '--image-size', type=int, default=224, metavar='PIXELS', help='default: 224'
    )
    return parser.parse_args()


@command
def main() -> None:
    """Prints the tables of backbones, or writes them into the pages, or shows one of them."""
    args = parse_args()
    if args.show is not None:
        print(_show(args.show, nested(args.backbone_options), args.image_size))
    elif args.write_docs:
        write_tables()
    else:
        print(f'{backbones_table()}\n\n{weights_table()}')


def _show(what: str, options: dict[str, Any], image_size: int) -> str:
    cfg: ConfigType = dict(type=what)
    if what.endswith('.py') or '::' in what:
        model = load_config(what).model.to_dict()
        for key in find_detector(model):
            model = model[key]
        cfg = model['backbone']
    cfg |= options
    name = str(cfg.pop('type')).removeprefix('mmblocks.')
    check_options(name, cfg, flag='--show')
    try:
        return structure(dict(cfg, type=name), image_size)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f'{name}: {first_line(error)}') from error
