"""The backbones and their outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmengine.registry import MODELS

import mmblocks.backbones
from mmblocks.backbones.base import BaseBackbone


class FeatureInfo(NamedTuple):
    """One output of a backbone.

    Attributes:
        channels: Channels of the map.
        stride: Image pixels per pixel of the map.
    """

    channels: int
    stride: int


def list_backbones() -> list[str]:
    """Returns the names of the backbones, as they stand behind ``mmblocks.`` in a config.

    Example:
        >>> 'GhostNet' in list_backbones()
        True
    """
    return sorted(
        name
        for name in mmblocks.backbones.__all__
        if name in MODELS.module_dict and issubclass(MODELS.module_dict[name], BaseBackbone)
    )


def feature_info(backbone: Mapping[str, Any] | BaseBackbone) -> tuple[FeatureInfo, ...]:
    """Returns channels and stride of each output of a backbone.

    Args:
        backbone: A backbone of mmblocks, or its config with or without the ``mmblocks.`` prefix.
            A config is built on the meta device: no weights are allocated or loaded.

    Returns:
        One entry per output, highest resolution first.

    Raises:
        ValueError: The config names no backbone of mmblocks.

    Example:
        >>> feature_info(dict(type='mmblocks.GhostNet', out_indices=(4, 6, 8)))
        (FeatureInfo(channels=40, stride=8), FeatureInfo(channels=112, stride=16), \
FeatureInfo(channels=160, stride=32))
    """
    if isinstance(backbone, Mapping):
        backbone = build_on_meta(backbone)
    if not isinstance(backbone, BaseBackbone):
        raise ValueError(f'backbone is a {type(backbone).__name__}, not one of {list_backbones()}')
    return tuple(map(FeatureInfo, backbone.out_channels, backbone.out_strides))


def build_on_meta(cfg: Mapping[str, Any]) -> BaseBackbone:
    """Builds a backbone on the meta device: its shape without its weights.

    Args:
        cfg: Its config, with or without the ``mmblocks.`` prefix.

    Returns:
        The backbone; it runs on tensors of the meta device.

    Raises:
        ValueError: The config names no backbone of mmblocks.
    """
    options = dict(cfg)
    backbone_class = _backbone_class(options.pop('type', None))
    with torch.device('meta'):
        return backbone_class(**options)


def _backbone_class(backbone_type: str | type | None) -> type[BaseBackbone]:
    if isinstance(backbone_type, type) and issubclass(backbone_type, BaseBackbone):
        return backbone_type
    name = str(backbone_type).removeprefix('mmblocks.')
    if name not in list_backbones():
        raise ValueError(f'type={backbone_type!r}: not one of {", ".join(list_backbones())}')
    return MODELS.module_dict[name]
