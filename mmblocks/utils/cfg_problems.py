"""What is wrong with the config of a norm, an activation or a convolution, tried on a map."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmcv.cnn import build_activation_layer, build_conv_layer
from mmcv.cnn import build_norm_layer as _build_norm_layer
from torch import nn

from mmblocks.utils.errors import first_line
from mmblocks.utils.lookup import find_layer
from mmblocks.utils.probe import probe_layer
from mmblocks.utils.types import ConfigType

_CHANNELS, _PIXELS = 32, 8


def norm_problem(norm_cfg: Mapping[str, Any], argument: str) -> str | None:
    """Says what is wrong with the config of a norm; None if nothing is.

    Args:
        norm_cfg: The config.
        argument: What holds it.

    Example:
        >>> norm_problem(dict(type='GN'), 'norm_cfg')
        'cannot be built: num_groups is missing'
    """
    return _problem(norm_cfg, argument, _build_norm)


def activation_problem(act_cfg: Mapping[str, Any], argument: str) -> str | None:
    """Says what is wrong with the config of an activation; None if nothing is.

    Args:
        act_cfg: The config.
        argument: What holds it.

    Example:
        >>> activation_problem(dict(type='ReLU', inplace=True), 'act_cfg')
    """
    return _problem(act_cfg, argument, build_activation_layer)


def conv_problem(conv_cfg: Mapping[str, Any], argument: str) -> str | None:
    """Says what is wrong with the config of a convolution; None if nothing is.

    Args:
        conv_cfg: The config.
        argument: What holds it.

    Example:
        >>> conv_problem(dict(type='Conv3d'), 'conv_cfg').partition(':')[0]
        'cannot take a map'
    """
    problem = _problem(conv_cfg, argument, _build_conv)
    return f'{problem} (a net takes layers of other kinds by replace_convs)' if problem else None


def _build_norm(cfg: ConfigType) -> nn.Module:
    # As many channels as its groups have, since only the net knows how many they will be.
    groups = cfg.get('num_groups', 1)
    try:
        return _build_norm_layer(cfg, groups if groups > 1 else _CHANNELS)[1]
    except AssertionError as error:  # mmcv's, without words
        raise ValueError('num_groups is missing') from error


def _build_conv(cfg: ConfigType) -> nn.Module:
    return build_conv_layer(cfg, _CHANNELS, _CHANNELS, kernel_size=3, padding=1, bias=False)


def _problem(
    cfg: Mapping[str, Any], argument: str, build: Callable[[dict[str, Any]], nn.Module]
) -> str | None:
    try:
        layer = find_layer(cfg['type'], argument)
    except ValueError as error:
        return str(error).partition(': ')[2]
    items = (('type', layer), *((key, value) for key, value in cfg.items() if key != 'type'))
    try:
        return _tried(items, build)
    except TypeError:  # a value that cannot be hashed
        return _tried.__wrapped__(items, build)


@functools.lru_cache(maxsize=256)
def _tried(
    items: tuple[tuple[str, Any], ...], build: Callable[[dict[str, Any]], nn.Module]
) -> str | None:
    try:
        with torch.device('meta'):
            layer = build(dict(items))
        channels = getattr(layer, 'num_features', getattr(layer, 'num_channels', _CHANNELS))
    except Exception as error:
        return f'cannot be built: {first_line(error)}'
    size = (channels, _PIXELS, _PIXELS)
    try:
        made = probe_layer(layer, size).out_shape
    except ValueError as error:
        return f'cannot take a map: {first_line(error.__cause__ or error)}'
    if made is not None and made != size:
        return 'does not keep the channels, height and width of a map'
    return None
