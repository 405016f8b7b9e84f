"""Building the new backbone with outputs of the strides that the detector needs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

from mmengine.registry import MODELS

from mmblocks.backbones.base import BaseBackbone
from mmblocks.describe.catalog import build_on_meta, list_backbones
from mmblocks.utils.errors import UserError, did_you_mean, first_line
from mmblocks.utils.text import joined
from mmblocks.utils.types import ConfigType

# What Python says when a class passes on an option that it also sets.
_TWICE = re.compile(r"multiple values for keyword argument '(\w+)'")


def check_options(name: str, options: dict[str, Any], flag: str = '--backbone') -> None:
    """Checks that there is a backbone of this name and that it takes these options.

    Args:
        name: The backbone, without a prefix.
        options: Its arguments.
        flag: The option of a command line that gave the name; for the errors.

    Raises:
        UserError: There is none, it does not know an option, or it needs another one.
    """
    if name not in list_backbones():
        lowered = {known.lower(): known for known in list_backbones()}
        near = lowered.get(name.lower())
        hint = f'; did you mean {near}?' if near else did_you_mean(name, list_backbones())
        raise UserError(f'{flag} {name}: mmblocks has {", ".join(list_backbones())}{hint}')
    parameters = _parameters(MODELS.module_dict[name])
    if unknown := [key for key in options if key not in parameters]:
        raise UserError(
            f'{flag}-options: {name} has no {", ".join(unknown)}; it accepts '
            f'{", ".join(parameters)}{did_you_mean(unknown[0], parameters)}'
        )
    lacking = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty and key not in options
    ]
    if lacking:
        wanted = ' '.join(f'{key}=...' for key in lacking)
        raise UserError(f'{name} needs {", ".join(lacking)}: {flag}-options {wanted}')


def choose_outputs(cfg: ConfigType, strides: Sequence[int]) -> dict[str, Any] | None:
    """Returns a backbone's config with the ``out_indices`` whose outputs have these strides.

    Where the backbone's default outputs have them, they stay; for any other stride it is the last
    group that has it.

    Args:
        cfg: The backbone's config.
        strides: The strides, finest first.

    Returns:
        The config, with ``out_indices`` if they are not the default ones; None if the backbone
        has no such outputs, or if its config has an ``out_indices`` for others.

    Raises:
        UserError: The backbone refuses its options.
    """
    default = build(_thawed(cfg))
    if default.out_strides == tuple(strides):
        return cfg
    if 'out_indices' in cfg:
        return None
    last = dict(zip(default.out_strides, default.out_indices, strict=True))
    every = _with_every_output(cfg)
    last = dict(zip(every.out_strides, every.out_indices, strict=True)) | last
    if len(set(strides)) != len(strides) or not set(strides) <= set(last):
        return None
    return dict(cfg, out_indices=tuple(last[stride] for stride in strides))


def explain_misfit(cfg: ConfigType, strides: Sequence[int], skips: int, neck_input: str) -> str:
    """Returns why a backbone lacks the outputs that a detector needs, and what can be done.

    Args:
        cfg: The backbone's config.
        strides: The strides that are needed.
        skips: How many of them the detector does not use.
        neck_input: The part that needs them, for the message.
    """
    chosen = 'out_indices' in cfg
    backbone = build(_thawed(cfg)) if chosen else _with_every_output(cfg)
    has = sorted(set(backbone.out_strides))
    name = f'{cfg["type"]} with out_indices={cfg["out_indices"]}' if chosen else cfg['type']
    used = f', of which it skips the first {skips}' if skips else ''
    text = (
        f'{name} has maps of strides {joined(has)}, but the {neck_input} of the base takes '
        f'{len(strides)} of strides {joined(strides)}{used}'
    )
    if chosen:
        return f'{text}; leave out_indices out to have them chosen'
    if len(set(strides)) != len(strides):
        return f'{text}: its backbone is dilated; see the options dilations and output_stride'
    if min(has) > min(strides):
        return (
            f'{text}; take a base whose neck starts at stride {min(has)} (RetinaNet, FCOS and ATSS '
            f'have start_level=1) or a backbone with stride {min(strides)}, or move the heads too, '
            'as mmblocks::coco/faster_rcnn/faster-rcnn_shufflenetv2_fpn_1x_coco.py does'
        )
    return text


def build(cfg: ConfigType) -> BaseBackbone:
    """Builds a backbone on the meta device.

    Raises:
        UserError: It refuses its options.
    """
    try:
        return build_on_meta(cfg)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        reason = first_line(error)
        if match := _TWICE.search(reason):
            reason = f'it sets {match[1]} by itself; leave it out'
        raise UserError(f'{cfg["type"]}: {reason}') from error


def _with_every_output(cfg: ConfigType) -> BaseBackbone:
    (last,) = build(dict(_thawed(cfg), out_indices=-1)).out_indices
    return build(dict(_thawed(cfg), out_indices=tuple(range(last + 1))))


def _thawed(cfg: ConfigType) -> dict[str, Any]:
    # How much can be frozen depends on the outputs, which are only looked for here.
    return {key: value for key, value in cfg.items() if key != 'frozen_stages'}


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Returns what a class can be built with, through the ``**kwargs`` of derived classes."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        _, *parameters = inspect.signature(vars(base)['__init__']).parameters.values()
        for parameter in parameters:
            if parameter.kind is not parameter.VAR_KEYWORD:
                found.setdefault(parameter.name, parameter)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found
