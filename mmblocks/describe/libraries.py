"""Which other libraries have a net that is built with some options."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from mmengine.registry import MODELS

from mmblocks.backbones.base import BaseBackbone
from mmblocks.describe.catalog import build_on_meta
from mmblocks.describe.table import VARIANTS
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import KeyMapping

# Options that change which parts of a net there are and are no other net.
_PARTS = ('num_classes', 'aux_logits')


def libraries_with(cfg: ConfigType, backbone: BaseBackbone) -> list[str]:
    """Returns the names of the libraries that are known to have a net.

    They are those of the nets in the table of backbones that have all of its parts and the fewest
    others.

    Args:
        cfg: Config of the net.
        backbone: The net.

    Example:
        >>> cfg = dict(type='GhostNet', widen_factor=1.1, out_indices=-1)
        >>> libraries_with(cfg, build_on_meta(cfg))
        ['timm']
    """
    own = _kinds(backbone)
    parts = tuple((key, cfg[key]) for key in _PARTS if key in cfg)
    fewest = float('inf')
    libraries: set[str] = set()
    for i, variant in enumerate(VARIANTS):
        if not _are_related(type(backbone), MODELS.module_dict[variant.cfg['type']]):
            continue
        kinds = _kinds_of_variant(i, parts)
        if own <= kinds and len(kinds) <= fewest:
            libraries = set(variant.libraries) | (libraries if len(kinds) == fewest else set())
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
