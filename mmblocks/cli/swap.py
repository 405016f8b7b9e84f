"""The command ``mmblocks swap`` and ``tools/swap_backbone.py``."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from pathlib import Path
from typing import Any

from mmblocks.cli.arguments import add_options, make_parser
from mmblocks.cli.command import command
from mmblocks.swap import swap_backbone
from mmblocks.utils.errors import UserError, note, warn
from mmblocks.utils.key_values import nested


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser('Write a config that inherits from another one and swaps its backbone.')
    parser.add_argument('base', help='config of mmdet: a path, or mmdet::retinanet/...py')
    parser.add_argument(
        '--backbone', required=True, metavar='NAME', help='backbone, such as mmblocks.MobileNetV3'
    )
    add_options(
        parser,
        '--backbone-options',
        'its arguments: arch=small, out_indices=1,2,3, norm_cfg.type=SyncBN',
    )
    parser.add_argument(
        '--freeze',
        type=int,
        metavar='K',
        help='freeze the stem and the first K groups; 0 the stem alone; default: nothing',
    )
    parser.add_argument(
        '--checkpoint', metavar='WEIGHTS', help='weights to start from: path, URL, torchvision://'
    )
    parser.add_argument(
        '--checkpoint-prefix',
        metavar='PREFIX',
        help="what the backbone's keys begin with in it: backbone. for mmpretrain's",
    )
    parser.add_argument(
        '--at',
        metavar='KEY',
        help='the part of the base that has the backbone, where there are several: model.detector',
    )
    parser.add_argument('--out', metavar='FILE', help='config to write; default: print it')
    parser.add_argument('--force', action='store_true', help='replace FILE if it is there')
    return parser.parse_args()


@command
def main() -> None:
    """Writes a config that swaps the backbone of another one."""
    args = parse_args()
    # What others say about themselves; what our nets say about their options stays.
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
    warnings.filterwarnings('ignore', category=FutureWarning, module='mmdet')
    out = None if args.out is None else _checked_out(args)
    folder = '.' if out is None else out.parent
    # The config alone goes to stdout, and MMEngine's log would go there, too.
    with contextlib.redirect_stdout(sys.stderr):
        swap = swap_backbone(args.base, _backbone(args), folder, args.at)
    if out is None:
        print(swap.text, end='')
        note(swap.report)
    else:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(swap.text, encoding='utf-8')
        except OSError as error:
            raise UserError(f'--out {args.out} cannot be written: {error.strerror}') from error
        print(swap.report)
        print(f'written to {out}')
    for warning in swap.warnings:
        warn(warning)


def _checked_out(args: argparse.Namespace) -> Path:
    out = Path(args.out).expanduser()
    if out.suffix != '.py':
        raise UserError(f'--out must end in .py, not {args.out}')
    if '::' not in args.base and out.resolve() == Path(args.base).expanduser().resolve():
        raise UserError(f'--out {args.out} is the base itself; name another file')
    if out.exists() and not args.force:
        raise UserError(f'--out {args.out} is there already; --force replaces it')
    return out


def _backbone(args: argparse.Namespace) -> dict[str, Any]:
    """Puts together the backbone's config."""
    backbone = dict(type=args.backbone, **nested(args.backbone_options))
    given = {'--freeze': 'frozen_stages', '--checkpoint': 'init_cfg'}
    values = {'--freeze': args.freeze, '--checkpoint': args.checkpoint}
    for flag, key in given.items():
        if values[flag] is not None and key in backbone:
            raise UserError(f'{flag} and --backbone-options {key}=... say the same; give one')
    if args.freeze is not None:
        backbone['frozen_stages'] = args.freeze
    if args.checkpoint is not None:
        backbone['init_cfg'] = dict(type='Pretrained', checkpoint=args.checkpoint)
        if args.checkpoint_prefix is not None:
            backbone['init_cfg']['prefix'] = args.checkpoint_prefix
    elif args.checkpoint_prefix is not None:
        raise UserError('--checkpoint-prefix is of no use without --checkpoint')
    return backbone
