"""What arguments of nets, necks and layers may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from mmengine.model.weight_init import BaseInit, PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from mmblocks.utils.cfg_problems import activation_problem, conv_problem, norm_problem
from mmblocks.utils.errors import did_you_mean, first_line
from mmblocks.utils.types import ConfigType


class Accepted(NamedTuple):
    """What an argument may be.

    Attributes:
        fits: Whether a value may be one.
        words: The same in words, behind 'must be'.
        problem: Says what is wrong with a value that fits so far; None if nothing is. It gets the
            argument's name, too.
    """

    fits: Callable[[Any], bool]
    words: str
    problem: Callable[[Any, str], str | None] | None = None


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite real number; a bool is none.

    Example:
        >>> is_number(0.5), is_number('0.5'), is_number(True), is_number(float('nan'))
        (True, False, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any, least: int = 1) -> TypeGuard[int]:
    """Whether a value is an int of at least 1, or another least one.

    Example:
        >>> is_count(3), is_count(0), is_count(3.0), is_count(0, least=0)
        (True, False, False, True)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_list_of(fits: Callable[[Any], bool], values: Any) -> bool:
    """Whether a value is a sequence, not empty and no string, whose entries all fit.

    Example:
        >>> is_list_of(is_count, (1, 2)), is_list_of(is_count, []), is_list_of(is_count, 3)
        (True, False, False)
    """
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    return is_list and len(values) > 0 and all(map(fits, values))


def _is_pair(least: int) -> Callable[[Any], bool]:
    return lambda value: (
        is_count(value, least)
        or (is_list_of(lambda n: is_count(n, least), value) and len(value) == 2)
    )


def is_layer_cfg(value: Any) -> TypeGuard[ConfigType]:
    """Whether a value is a dict with a type.

    Example:
        >>> is_layer_cfg(dict(type='BN')), is_layer_cfg({}), is_layer_cfg('BN')
        (True, False, False)
    """
    return isinstance(value, Mapping) and isinstance(value.get('type'), str | type)


def _is_init_cfg(value: Any) -> bool:
    entries = [value] if isinstance(value, Mapping) else value
    # An empty list asks for no initialisation but PyTorch's own.
    return entries == [] or is_list_of(is_layer_cfg, entries)


def _init_problem(value: Any, argument: str) -> str | None:
    for entry in [value] if isinstance(value, Mapping) else value:
        kind = entry['type']
        known = PretrainedInit if kind == 'PretrainedInit' else kind
        known = WEIGHT_INITIALIZERS.get(known) if isinstance(known, str) else known
        if known is None:
            near = did_you_mean(kind, WEIGHT_INITIALIZERS.module_dict)
            return f'MMEngine has no initialisation {kind!r}{near}'
        if known is PretrainedInit:
            if 'checkpoint' not in entry:
                return 'lacks checkpoint, a path or an address'
            if not isinstance(entry['checkpoint'], str | Path):
                return f'checkpoint={entry["checkpoint"]!r} must be a path or an address'
            continue
        if issubclass(known, BaseInit) and not {'layer', 'override'} & entry.keys():
            return f'{kind} names neither layer nor override, so that it would draw nothing'
        try:
            known(**{key: given for key, given in entry.items() if key not in ('type', 'override')})
        except Exception as error:
            return f'{kind} cannot be built: {first_line(error)}'
    return None


COUNT = Accepted(is_count, 'an int of at least 1')
FLAG = Accepted(lambda value: isinstance(value, bool), 'True or False')
FACTOR = Accepted(lambda value: is_number(value) and value > 0, 'a number above 0')
FROM_ZERO = Accepted(lambda value: is_number(value) and value >= 0, 'a number of at least 0')
SHARE = Accepted(lambda value: is_number(value) and 0 <= value <= 1, 'a number from 0 to 1')
LESS_THAN_ALL = Accepted(
    lambda value: is_number(value) and 0 <= value < 1, 'a number of at least 0 and below 1'
)
ODD = Accepted(lambda value: is_count(value) and value % 2 == 1, 'an odd int of at least 1')
PAIR = Accepted(_is_pair(1), 'one or two ints of at least 1')
PADDING = Accepted(_is_pair(0), 'one or two ints of at least 0')
COUNTS = Accepted(lambda value: is_list_of(is_count, value), 'a list of ints of at least 1')
OPTIONS = Accepted(lambda value: isinstance(value, Mapping), 'a dict of arguments')
NORM = Accepted(is_layer_cfg, "a dict such as dict(type='BN')", norm_problem)
ACTIVATION = Accepted(is_layer_cfg, "a dict such as dict(type='ReLU')", activation_problem)
CONV = Accepted(is_layer_cfg, "a dict such as dict(type='Conv2d')", conv_problem)
LAYER = Accepted(is_layer_cfg, "a dict with the layer's type")
AUTO_FLAG = Accepted(lambda value: value == 'auto' or FLAG.fits(value), "True, False or 'auto'")
MODULE = Accepted(lambda value: isinstance(value, nn.Module), 'a module')
INIT = Accepted(
    _is_init_cfg, "a dict such as dict(type='Kaiming', layer='Conv2d') or a list", _init_problem
)
