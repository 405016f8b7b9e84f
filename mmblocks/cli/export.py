"""The command ``mmblocks export`` and ``tools/export.py``."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from mmblocks.cli.arguments import add_options, make_parser
from mmblocks.cli.command import command
from mmblocks.engine import load_config
from mmblocks.export.export import Settings, export


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser('Write a detector to one file that runs without mmdet, and try it out.')
    parser.add_argument('config', help='config file, or package::path such as mmdet::ssd/...py')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, metavar='FILE', help='file to write: model.onnx')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help="pixels of the images; default: those of the config's test images",
    )
    parser.add_argument(
        '--dynamic',
        choices=('batch', 'size'),
        help='take any number of images, or any size; default: one image of --size',
    )
    parser.add_argument(
        '--max-per-img', type=int, metavar='N', help="detections at most; default: the config's"
    )
    parser.add_argument(
        '--score-thr', type=float, metavar='X', help="least score; default: the config's"
    )
    parser.add_argument('--raw', action='store_true', help='stop at the maps of the heads')
    parser.add_argument(
        '--format',
        choices=('onnx', 'torch'),
        default='onnx',
        help='torch: a graph of torch.export in a file .pt2; default: %(default)s',
    )
    add_options(parser, '--cfg-options', 'change the config')
    return parser.parse_args()


@command
def main() -> None:
    """Exports a detector."""
    args = parse_args()
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
    cfg = load_config(args.config, args.cfg_options)
    settings = Settings(
        size=None if args.size is None else (args.size[0], args.size[1]),
        dynamic=args.dynamic,
        max_per_img=args.max_per_img,
        score_thr=args.score_thr,
        raw=args.raw,
        format=args.format,
    )
    print(export(cfg, args.checkpoint, Path(args.out).expanduser(), settings))
