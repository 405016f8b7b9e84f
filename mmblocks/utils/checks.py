"""Checking the arguments of nets, necks and layers: one table for all."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mmblocks.utils.accepted import (
    ACTIVATION,
    CONV,
    COUNT,
    COUNTS,
    FACTOR,
    FLAG,
    FROM_ZERO,
    INIT,
    LESS_THAN_ALL,
    NORM,
    ODD,
    OPTIONS,
    SHARE,
    Accepted,
    is_list_of,
    is_number,
)
from mmblocks.utils.errors import did_you_mean

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
    with_cp=Accepted(
        lambda value: isinstance(value, bool) or value == 'norm_act', "True, False or 'norm_act'"
    ),
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
