"""The command ``mmblocks make_digits`` and ``tools/make_digits.py``."""

from __future__ import annotations

import argparse

from mmblocks.cli.arguments import add_scenes, make_parser
from mmblocks.cli.command import command
from mmblocks.digits import DigitsSettings, make_digits
from mmblocks.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    """Reads the command line; the defaults are those of `DigitsSettings`."""
    parser = make_parser(
        'Make the digits data set: scenes of real handwriting in COCO format.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = DigitsSettings()
    parser.add_argument('root', nargs='?', default='data/digits', help='folder of the data set')
    add_scenes(parser, train=default.train_scenes, val=default.val_scenes)
    parser.add_argument(
        '--digits', type=int, nargs='+', default=default.digits, metavar='D', help='classes'
    )
    parser.add_argument('--image-size', type=int, default=default.image_size, metavar='PIXELS')
    parser.add_argument(
        '--digit-size',
        type=int,
        nargs=2,
        default=default.digit_size,
        metavar=('LEAST', 'GREATEST'),
        help="longer side of a digit's ink in pixels",
    )
    parser.add_argument(
        '--digits-per-scene',
        type=int,
        nargs=2,
        default=default.digits_per_scene,
        metavar=('LEAST', 'GREATEST'),
        help='number of digits in a scene',
    )
    parser.add_argument('--seed', type=int, default=default.seed, help='seed of everything random')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace a digits set that was made with other settings',
    )
    return parser.parse_args()


@command
def main() -> None:
    """Makes the data set and says where it is."""
    options = vars(parse_args())
    root, overwrite = options.pop('root'), options.pop('overwrite')
    options.pop('debug')
    try:
        settings = DigitsSettings(**options)
        root = make_digits(root, settings, overwrite)
    except (ValueError, FileExistsError, ImportError) as error:
        raise UserError(str(error)) from error
    print(
        f'{root}: {settings.train_scenes} training and {settings.val_scenes} validation scenes '
        f'of the digits {" ".join(settings.class_names)}'
    )
