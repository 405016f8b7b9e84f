"""The command line of ``tools/describe_backbones.py``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmblocks.describe.structure import structure
from mmblocks.describe.table import markdown_peers, markdown_table
from mmblocks.engine import load_config
from mmblocks.swap.detector import find_detector
from mmblocks.swap.outputs import check_options
from mmblocks.utils.errors import UserError, command, first_line, tool_parser
from mmblocks.utils.key_values import KeyValues

README = Path(__file__).parents[1] / 'README.md'
TABLES = dict(backbones=markdown_table, weights=markdown_peers)


@command
def main() -> None:
    """Prints the tables of backbones, or writes them into the README, or shows one of them."""
    args = _parse()
    if args.show is not None:
        print(_show(args.show, args.backbone_options, args.image_size))
    elif args.write_readme:
        _write_readme()
    else:
        print('\n\n'.join(make() for make in TABLES.values()))


def _parse() -> argparse.Namespace:
    parser = tool_parser('Print the table of backbones and that of whose weights they load.')
    parser.add_argument('--write-readme', action='store_true', help='put the tables into README.md')
    parser.add_argument(
        '--show',
        metavar='WHAT',
        help='draw the structure of a backbone instead: its name, or a config that uses it',
    )
    parser.add_argument(
        '--backbone-options',
        nargs='+',
        action=KeyValues,
        default={},
        metavar='KEY=VALUE',
        help="arguments of the backbone, in place of the config's where --show names one",
    )
    parser.add_argument(
        '--image-size', type=int, default=224, metavar='PIXELS', help='default: 224'
    )
    return parser.parse_args()


def _show(what: str, given: dict[str, Any], image_size: int) -> str:
    # Dotted keys stand for nested dicts.
    options = Config({})
    options.merge_from_dict(given)
    cfg: dict[str, Any] = dict(type=what)
    if what.endswith('.py') or '::' in what:
        model = load_config(what).model.to_dict()
        for key in find_detector(model):
            model = model[key]
        cfg = model['backbone']
    cfg |= options.to_dict()
    name = str(cfg.pop('type')).removeprefix('mmblocks.')
    check_options(name, cfg, flag='--show')
    try:
        return structure(dict(cfg, type=name), image_size)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f'{name}: {first_line(error)}') from error


def _write_readme() -> None:
    text = README.read_text(encoding='utf-8')
    for name, make in TABLES.items():
        start, end = f'<!-- {name} -->\n', f'<!-- /{name} -->'
        table = f'{start}{make()}\n{end}'
        text, places = re.subn(f'{start}.*?{end}', lambda _, new=table: new, text, flags=re.DOTALL)
        if places != 1:
            raise UserError(f'{README} must have one "{start.strip()} ... {end}"')
    README.write_text(text, encoding='utf-8')
