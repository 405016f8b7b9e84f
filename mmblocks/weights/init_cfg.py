"""Initialising a module as its ``init_cfg`` says, from the weights of any library."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit, update_init_info

from mmblocks.utils.types import MultiConfig
from mmblocks.weights.loading import load_pretrained
from mmblocks.weights.own_init import own_values, start_own_layers
from mmblocks.weights.report import LoadReport

_PRETRAINED = ('Pretrained', 'PretrainedInit', 'mmengine.Pretrained', PretrainedInit)
_OPTIONS = tuple(inspect.signature(load_pretrained).parameters)[1:]


def check_init_cfg(init_cfg: MultiConfig | None) -> None:
    """Checks the entries of an ``init_cfg`` that load weights.

    Args:
        init_cfg: MMEngine's initialisation config. ``dict(type='Pretrained', ...)`` takes the
            arguments of :func:`load_pretrained`: ``checkpoint``, ``prefix``, ``map_location``,
            ``min_match``, ``adapt_input`` and ``allow_nonfinite``.

    Raises:
        ValueError: One has an option that there is not, or lacks ``checkpoint``.

    Example:
        >>> check_init_cfg(dict(type='Pretrained', file='a.pth'))
        Traceback (most recent call last):
        ValueError: init_cfg={'type': 'Pretrained', 'file': 'a.pth'}: has file; Pretrained accepts \
checkpoint, prefix, map_location, min_match, adapt_input, allow_nonfinite
    """
    for options in _split(init_cfg)[0]:
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown or 'checkpoint' not in options:
            wrong = f'has {", ".join(unknown)}' if unknown else 'lacks checkpoint'
            raise ValueError(
                f'init_cfg={init_cfg}: {wrong}; Pretrained accepts {", ".join(_OPTIONS)}'
            )


def init_random(
    module: BaseModule, init_weights: Callable[[], None], default: MultiConfig | None
) -> None:
    """Initialises all tensors of a module; weights fill them afterwards.

    Args:
        module: The module.
        init_weights: MMEngine's initialisation of it.
        default: What initialises it where its ``init_cfg`` does nothing but load weights.
    """
    loading, others = _split(module.init_cfg)
    given = module.init_cfg
    if loading:
        module.init_cfg = others if others else copy.deepcopy(default)
    kept = own_values(module)
    try:
        init_weights()
    finally:
        module.init_cfg = given
    start_own_layers(module, kept)


def load_init_cfg(module: BaseModule) -> list[LoadReport]:
    """Loads the weights that the ``init_cfg`` of a module names.

    Args:
        module: The module.

    Returns:
        What each of the checkpoints has filled.
    """
    reports = []
    for options in _split(module.init_cfg)[0]:
        reports.append(load_pretrained(module, **options))
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'Pretrained: load from {options["checkpoint"]}')
    return reports


def _split(init_cfg: MultiConfig | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the options of the entries that load weights, and the other entries."""
    given = init_cfg or []
    entries = [given] if isinstance(given, dict) else list(given)
    loading = [entry for entry in entries if entry.get('type') in _PRETRAINED]
    others = [entry for entry in entries if entry.get('type') not in _PRETRAINED]
    return [{k: v for k, v in entry.items() if k != 'type'} for entry in loading], others
