"""What nets, necks and layers ask of their arguments: one table for all."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from mmengine.model.weight_init import BaseInit, PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from mmblocks.utils.errors import did_you_mean, first_line
from mmblocks.utils.layer_trial import activation_problem, conv_problem, norm_problem
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

# What a type hint says of an argument that the next table does not name.
BY_HINT: dict[str, Accepted] = {
    'int': COUNT,
    'bool': FLAG,
    'float': FACTOR,
    'Sequence[int]': COUNTS,
}
BY_NAME: dict[str, Accepted | None] = dict(
    # Named by the module that needs them.
    frozen_stages=None,
    kernel_sizes=None,
    num_classes=None,
    out_indices=None,
    output_stride=None,
    plugins=None,
    spp_kernal_sizes=None,
    start_level=None,
    end_level=None,
    # Layers.
    act_cfg=ACTIVATION,
    conv_cfg=CONV,
    gate_cfg=ACTIVATION,
    init_cfg=INIT,
    norm_cfg=NORM,
    se_cfg=OPTIONS,
    # Shares.
    compression_factor=Accepted(
        lambda value: is_number(value) and 0 < value <= 1, 'a number above 0 and at most 1'
    ),
    drop_path_rate=LESS_THAN_ALL,
    drop_rate=SHARE,
    aux_drop_rate=SHARE,
    # Sizes in pixels: padding by half a kernel keeps the size for odd ones only.
    band_kernel_size=ODD,
    dw_size=ODD,
    kernel_size=ODD,
    square_kernel_size=ODD,
    layer_scale_init_value=FROM_ZERO,
)


def check_arguments(cls: type[Any], arguments: Mapping[str, Any], **rules: Accepted | None) -> None:
    """Checks that the arguments of a constructor are what they may be.

    A constructor's first line is ``check_arguments(ItsClass, locals())``. None is accepted where
    the type hint says so. What the constructor hands on as ``**kwargs`` must be an argument of a
    parent's constructor, which checks the value.

    Args:
        cls: The class whose constructor it is.
        arguments: Their values by name; other names are passed over.
        **rules: What is accepted of arguments of which the tables of names and type hints say
            something else; None where the constructor itself looks.

    Raises:
        ValueError: One of them is not; it is named with what was given and what is accepted.
        TypeError: There is no such argument.

    Example:
        >>> class Layer:
        ...     def __init__(self, channels: int, act_cfg: dict | None = None) -> None:
        ...         check_arguments(Layer, locals())
        >>> layer = Layer(3)
        >>> Layer(0)
        Traceback (most recent call last):
        ValueError: channels=0: must be an int of at least 1
        >>> Layer(3, 'ReLU')
        Traceback (most recent call last):
        ValueError: act_cfg='ReLU': must be a dict such as dict(type='ReLU'), or None
    """
    for name, value in arguments.get('kwargs', {}).items():
        if name not in (known := _argument_names(cls)):
            raise TypeError(
                f'{cls.__name__}() has no argument {name}={shown(value)}{did_you_mean(name, known)}'
            )
    for name, hint in cls.__init__.__annotations__.items():
        optional = hint.endswith(' | None')
        by_hint = BY_HINT.get(hint.removesuffix(' | None'))
        rule = rules.get(name, BY_NAME.get(name, by_hint))
        if rule is not None and name in arguments:
            check(name, arguments[name], rule, optional)


def _argument_names(cls: type[Any]) -> set[str]:
    """Returns the arguments of a constructor, those that it hands on to its parents included."""
    names: set[str] = set()
    for parent in cls.__mro__:
        if '__init__' not in vars(parent):
            continue
        parameters = inspect.signature(vars(parent)['__init__']).parameters
        names |= parameters.keys() - {'self', 'kwargs'}
        if 'kwargs' not in parameters:
            break
    return names


def check(name: str, value: Any, rule: Accepted, optional: bool = False) -> None:
    """Checks that an argument is what it may be.

    Args:
        name: The argument's name.
        value: What was given.
        rule: What it may be.
        optional: Whether it may be None, too.

    Raises:
        ValueError: It is not.

    Example:
        >>> check('scale', -1, FACTOR, optional=True)
        Traceback (most recent call last):
        ValueError: scale=-1: must be a number above 0, or None
    """
    if value is None and optional:
        return
    problem = None
    if not rule.fits(value):
        problem = f'must be {rule.words}' + (', or None' if optional else '')
    elif rule.problem is not None:
        problem = rule.problem(value, name)
    if problem:
        raise ValueError(f'{name}={shown(value)}: {problem}')


def shown(value: Any) -> str:
    """Writes a value in one line.

    Example:
        >>> shown([1, 2])
        '[1, 2]'
    """
    return ' '.join(repr(value).split())


def check_choice(name: str, value: Any, known: Iterable[Any]) -> None:
    """Checks that an argument is one of the known values.

    Args:
        name: The argument's name.
        value: What was given.
        known: The known values.

    Raises:
        ValueError: It is none of them.

    Example:
        >>> check_choice('depth', 19, (18, 34))
        Traceback (most recent call last):
        ValueError: depth=19: must be one of [18, 34]
    """
    # A list, since what was given may not be hashable. 1 is 1.0, but True and 1.0 are no 1.
    choices = list(known)
    chosen = [choice for choice in choices if value == choice]
    is_float = isinstance(value, float)
    if not chosen or isinstance(value, bool) or (is_float and isinstance(chosen[0], int)):
        raise ValueError(f'{name}={shown(value)}: must be one of {choices}')


def check_per_stage(name: str, value: Any, num_stages: int, rule: Accepted) -> None:
    """Checks that an argument has an entry for every stage.

    Args:
        name: The argument's name.
        value: What was given.
        num_stages: Number of stages.
        rule: What an entry may be.

    Raises:
        ValueError: It does not.

    Example:
        >>> check_per_stage('strides', (1, 0), 2, COUNT)
        Traceback (most recent call last):
        ValueError: strides=(1, 0): must have num_stages=2 entries, each an int of at least 1
    """
    if not is_list_of(rule.fits, value) or len(value) != num_stages:
        raise ValueError(
            f'{name}={shown(value)}: must have num_stages={num_stages} entries, each {rule.words}'
        )


def share_of(channels: int, ratio: float, name: str) -> int:
    """Returns a share of some channels, rounded down.

    Args:
        channels: The channels.
        ratio: Channels of the share per channel.
        name: What the ratio was given as.

    Raises:
        ValueError: The share has no channel.

    Example:
        >>> share_of(9, 0.5, 'expansion')
        4
        >>> share_of(3, 0.25, 'expansion')
        Traceback (most recent call last):
        ValueError: expansion=0.25: must leave at least one of 3 channels
    """
    share = int(channels * ratio)
    if share < 1:
        raise ValueError(f'{name}={ratio!r}: must leave at least one of {channels} channels')
    return share
