"""The command ``mmblocks new`` and ``tools/new.py``."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from pathlib import Path
from typing import Any

from mmblocks.cli.arguments import add_options, make_parser
from mmblocks.cli.command import command
from mmblocks.engine import load_config
from mmblocks.engine.consistency import check_consistency
from mmblocks.engine.data import check_data
from mmblocks.own_data import (
    Finding,
    Options,
    check_classes,
    check_split,
    new_config,
    read_split,
)
from mmblocks.own_data.loaders import trains_masks
from mmblocks.utils.errors import UserError, warn
from mmblocks.utils.key_values import nested


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser('Write a config that trains a detector of mmdet on your own data.')
    parser.add_argument(
        '--base', required=True, help='config of mmdet: a path, or mmdet::retinanet/...py'
    )
    for split, purpose in (('train', 'train on'), ('val', 'evaluate with')):
        parser.add_argument(
            f'--{split}',
            required=True,
            nargs='+',
            metavar='PATH',
            help=f'what to {purpose}: COCO as annotations.json images/, Pascal VOC as its folder '
            'and perhaps the name of a list in ImageSets/Main, YOLO as a folder with images and '
            'labels',
        )
    parser.add_argument(
        '--classes', nargs='+', metavar='NAME', help='names of the classes, for VOC and YOLO'
    )
    parser.add_argument(
        '--backbone', metavar='NAME', help="such as mmblocks.MobileNetV3; default: the base's"
    )
    add_options(
        parser,
        '--backbone-options',
        'its arguments: arch=small, out_indices=1,2,3, norm_cfg.type=SyncBN',
    )
    parser.add_argument(
        '--freeze', type=int, metavar='K', help='freeze the stem and the first K groups'
    )
    parser.add_argument(
        '--weights', help='weights of the backbone to start from: path, URL, torchvision://'
    )
    parser.add_argument(
        '--load-from', metavar='CHECKPOINT', help='weights of the whole detector to start from'
    )
    parser.add_argument(
        '--size', type=int, metavar='PIXELS', help="longer side of the images; default: the base's"
    )
    parser.add_argument(
        '--batch-size', type=int, metavar='N', help="images a batch; default: the base's on a GPU"
    )
    parser.add_argument(
        '--epochs',
        type=int,
        metavar='N',
        help='default: until 50,000 images were seen, at most 300, but never fewer than the base',
    )
    parser.add_argument(
        '--out', default='own.py', metavar='FILE', help='config to write; default: %(default)s'
    )
    parser.add_argument('--force', action='store_true', help='replace FILE if it is there')
    return parser.parse_args()


@command
def main() -> None:
    """Writes a config that trains a detector on own data."""
    args = parse_args()
    # What others say about themselves; what our nets say about their options stays.
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
    warnings.filterwarnings('ignore', category=FutureWarning, module='mmdet')
    out = Path(args.out).expanduser()
    _check_out(out, args)
    with contextlib.redirect_stdout(sys.stderr):  # where MMEngine's log goes
        masks = trains_masks(load_config(args.base).to_dict())
        train = read_split('train', args.train, args.classes)
        val = read_split('val', args.val, args.classes or _classes_for(args.val, train.classes))
        findings = {split.name: check_split(split, masks) for split in (train, val)}
        findings['both'] = check_classes(train, val)
    _report(findings)
    with contextlib.redirect_stdout(sys.stderr):
        new = new_config(args.base, train, val, out, _options(args))
    print(new.report)
    for warning in new.warnings:
        warn(warning)
    with contextlib.redirect_stdout(sys.stderr):
        files = new.save(out)
        cfg = load_config(str(out))
        check_consistency(cfg, 'train')
        check_data(cfg, 'train')
    print(f'written to {", ".join(map(str, files))}')
    print(f'next: mmblocks train {out}')


def _check_out(out: Path, args: argparse.Namespace) -> None:
    if out.suffix != '.py':
        raise UserError(f'--out must end in .py, not {args.out}')
    if '::' not in args.base and out.resolve() == Path(args.base).expanduser().resolve():
        raise UserError(f'--out {args.out} is the base itself; name another file')
    if out.exists() and not args.force:
        raise UserError(f'--out {args.out} is there already; --force replaces it')


def _classes_for(paths: list[str], of_train: tuple[str, ...]) -> list[str] | None:
    """Returns the classes of the training data for formats whose files do not list them."""
    return list(of_train) if Path(paths[0]).expanduser().is_dir() else None


def _options(args: argparse.Namespace) -> Options:
    given = dict(
        load_from=args.load_from, size=args.size, batch_size=args.batch_size, epochs=args.epochs
    )
    if args.backbone is None:
        if args.backbone_options:
            raise UserError('--backbone-options are of no use without --backbone')
        return Options(freeze=args.freeze, weights=args.weights, **given)
    backbone: dict[str, Any] = dict(type=args.backbone, **nested(args.backbone_options))
    if args.freeze is not None:
        backbone['frozen_stages'] = args.freeze
    if args.weights is not None:
        backbone['init_cfg'] = dict(type='Pretrained', checkpoint=args.weights)
    return Options(backbone=backbone, **given)


def _report(findings: dict[str, list[Finding]]) -> None:
    """Prints what was found in the data; raises for what keeps it from training."""
    fatal = []
    for name, found in findings.items():
        label = 'data' if name == 'both' else name
        for finding in found:
            warn(f'{label}: {finding.text}' + (f'; {finding.remedy}' if finding.remedy else ''))
            if finding.remedy:
                fatal.append(f'{label}: {finding.text}; {finding.remedy}')
    if fatal:
        more = f' ({len(fatal)} such problems, all listed above)' if len(fatal) > 1 else ''
        raise UserError(f'{fatal[0]}{more}')
