"""The command ``mmblocks convert`` and ``tools/convert_weights.py``."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from mmblocks.cli.arguments import add_options, make_parser
from mmblocks.cli.command import command
from mmblocks.describe.libraries import libraries_with
from mmblocks.swap.outputs import build, check_options
from mmblocks.utils.errors import UserError
from mmblocks.utils.key_values import nested
from mmblocks.weights.convert import OURS, convert_weights
from mmblocks.weights.loading import TooFewFound
from mmblocks.weights.saving import check_place, save_weights


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser('Write the weights of a backbone under the names of another library.')
    parser.add_argument(
        'src', help='file of torch, safetensors or detectron2, http(s)://, torchvision://, timm://'
    )
    parser.add_argument('dst', help='file to write: .pth or .safetensors')
    parser.add_argument(
        '--arch', required=True, metavar='NAME', help='the net, such as MobileNetV2'
    )
    add_options(
        parser,
        '--arch-options',
        'its arguments: depth=18, widen_factor=0.5; num_classes=1000 converts the classifier of a '
        'net that can have one',
    )
    parser.add_argument(
        '--to',
        default=OURS,
        metavar='LIBRARY',
        help='whose names to write: mmblocks (default), torchvision, timm, mmpretrain, mmdet or '
        'detectron2, as far as they have the net',
    )
    parser.add_argument(
        '--prefix', metavar='P', help="what the net's keys begin with in SRC; default: found"
    )
    parser.add_argument(
        '--allow-nonfinite', action='store_true', help='take NaN and infinity over, with a warning'
    )
    parser.add_argument('--force', action='store_true', help='replace DST if it is there')
    return parser.parse_args()


@command
def main() -> None:
    """Writes weights under the names of another library."""
    args = parse_args()
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
    check_place(args.dst, args.force)
    if '://' not in args.src and _same_file(args.src, args.dst):
        raise UserError(f'{args.dst} is the source itself; name another file')
    cfg = _backbone(args)
    backbone = build(cfg)
    libraries = () if args.to == OURS else libraries_with(cfg, backbone)
    try:
        conversion = convert_weights(
            backbone, args.src, args.to, libraries, args.prefix, args.allow_nonfinite
        )
    except TooFewFound as error:
        if 'out_indices' in args.arch_options:
            raise
        raise UserError(
            f'{error} Or of one without its last groups? Then give the out_indices that it had: '
            '--arch-options out_indices=1,2'
        ) from error
    file = save_weights(conversion.state_dict, args.dst, args.force)
    print(conversion)
    print(f'written to {file}')


def _same_file(src: str, dst: str) -> bool:
    return Path(src).expanduser().resolve() == Path(dst).expanduser().resolve()


def _backbone(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the config of the whole net."""
    options = nested(args.arch_options)
    name = args.arch.removeprefix('mmblocks.')
    check_options(name, options, '--arch')
    # Default outputs can leave out the last groups, which are to be converted too.
    return dict(dict(out_indices=-1), type=name, **options)
