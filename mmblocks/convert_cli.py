"""The command line of ``tools/convert_weights.py``."""

from __future__ import annotations

import argparse
import functools
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from mmblocks.backbones.base import BaseBackbone
from mmblocks.describe.catalog import build_on_meta
from mmblocks.describe.table import VARIANTS
from mmblocks.swap.outputs import build, check_options
from mmblocks.utils.errors import UserError, command, tool_parser
from mmblocks.utils.key_values import KeyValues
from mmblocks.weights.convert import OURS, convert_weights
from mmblocks.weights.key_mapping import KeyMapping
from mmblocks.weights.loading import TooFewFound
from mmblocks.weights.saving import check_place, save_weights

# Options that change which parts of a net there are and are no other net.
_PARTS = ('num_classes', 'aux_logits')


@command
def main() -> None:
    """Writes weights under the names of another library."""
    args = _parse()
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
    check_place(args.dst, args.force)
    if '://' not in args.src and _same_file(args.src, args.dst):
        raise UserError(f'{args.dst} is the source itself; name another file')
    cfg = _backbone(args)
    backbone = build(cfg)
    libraries = () if args.to == OURS else known_to(cfg, backbone)
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


def _parse() -> argparse.Namespace:
    parser = tool_parser('Write the weights of a backbone under the names of another library.')
    parser.add_argument(
        'src', help='file of torch, safetensors or detectron2, http(s)://, torchvision://, timm://'
    )
    parser.add_argument('dst', help='file to write: .pth or .safetensors')
    parser.add_argument(
        '--arch', required=True, metavar='NAME', help='the net, such as MobileNetV2'
    )
    parser.add_argument(
        '--arch-options',
        nargs='+',
        action=KeyValues,
        default={},
        metavar='KEY=VALUE',
        help='its arguments: depth=18, widen_factor=0.5; num_classes=1000 converts the classifier '
        'of a net that can have one',
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


def _same_file(src: str, dst: str) -> bool:
    return Path(src).expanduser().resolve() == Path(dst).expanduser().resolve()


def _backbone(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the config of the whole net."""
    options = Config({})
    options.merge_from_dict(args.arch_options)
    options = options.to_dict()
    name = args.arch.removeprefix('mmblocks.')
    check_options(name, options, '--arch')
    # Default outputs can leave out the last groups, which are to be converted too.
    return dict(dict(out_indices=-1), type=name, **options)


def known_to(cfg: dict[str, Any], backbone: BaseBackbone) -> list[str]:
    """Names the libraries that are known to have a net.

    Args:
        cfg: Config of the net.
        backbone: The net.

    Returns:
        Those of the nets in the table of backbones that have all of its parts and the fewest
        others.
    """
    own = _kinds(backbone)
    parts = tuple((key, cfg[key]) for key in _PARTS if key in cfg)
    fewest, libraries = float('inf'), set()
    for i, variant in enumerate(VARIANTS):
        if not _are_related(type(backbone), MODELS.module_dict[variant.cfg['type']]):
            continue
        kinds = _kinds_of_variant(i, parts)
        if own <= kinds and len(kinds) <= fewest:
            libraries = set(variant.peers) | (libraries if len(kinds) == fewest else set())
            fewest = len(kinds)
    # detectron2's ResNets are torchvision's.
    if 'torchvision' in libraries:
        libraries |= {mapping.name for mapping in _key_mappings(backbone)} & {'detectron2'}
    return sorted(libraries)


@functools.cache
def _kinds_of_variant(i: int, options: tuple[tuple[str, Any], ...]) -> set[str]:
    return _kinds(build_on_meta(dict(VARIANTS[i].cfg, out_indices=-1, **dict(options))))


def _kinds(backbone: BaseBackbone) -> set[str]:
    """Returns the names of a net's parameters without their numbers, so whatever its depth."""
    return {re.sub(r'\d+', '#', name) for name, _ in backbone.named_parameters()}


def _are_related(a: type[BaseBackbone], b: type[BaseBackbone]) -> bool:
    return bool(set(a.__mro__) & set(b.__mro__) - set(BaseBackbone.__mro__))


def _key_mappings(backbone: BaseBackbone) -> Sequence[KeyMapping]:
    return getattr(backbone, 'key_mappings', ())
