"""What many nets ask of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Real
from typing import Any


def is_number(value: Any) -> bool:
    """Whether a value is a real number; a bool is none.

    Example:
        >>> is_number(0.5), is_number('0.5'), is_number(True)
        (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    """Whether a value is an int of at least 1.

    Example:
        >>> is_count(3), is_count(0), is_count(3.0)
        (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check_number(name: str, value: Any, fits: Callable[[float], bool], accepted: str) -> None:
    """Holds that an argument is a number of the right size.

    Args:
        name: The argument's name.
        value: What was given.
        fits: Whether a number is of the right size.
        accepted: The same in words, behind 'must be a number'.

    Raises:
        ValueError: It is no number, or of another size.

    Example:
        >>> check_number('scale', '2', lambda scale: scale > 1, 'above 1')
        Traceback (most recent call last):
        ValueError: scale='2': must be a number above 1
    """
    if not is_number(value) or not fits(value):
        raise ValueError(f'{name}={value!r}: must be a number {accepted}')


def check_factor(name: str, value: Any) -> None:
    """Holds that an argument is a number above 0.

    Args:
        name: The argument's name.
        value: What was given.

    Raises:
        ValueError: It is none.
    """
    check_number(name, value, lambda factor: factor > 0, 'above 0')


def check_dropout(name: str, value: Any) -> None:
    """Holds that an argument is a share of values that can be dropped.

    Args:
        name: The argument's name.
        value: What was given.

    Raises:
        ValueError: It is none.
    """
    check_number(name, value, lambda share: 0 <= share <= 1, 'from 0 to 1')


def check_drop_path_rate(value: Any) -> None:
    """Holds that ``drop_path_rate`` is a share of samples that leaves some.

    Args:
        value: What was given.

    Raises:
        ValueError: It is none.
    """
    check_number('drop_path_rate', value, lambda share: 0 <= share < 1, 'of at least 0 and below 1')


def check_count(name: str, value: Any) -> None:
    """Holds that an argument is an int of at least 1.

    Args:
        name: The argument's name.
        value: What was given.

    Raises:
        ValueError: It is none.
    """
    if not is_count(value):
        raise ValueError(f'{name}={value!r}: must be an int of at least 1')


def check_choice(name: str, value: Any, known: Iterable[Any]) -> None:
    """Holds that an argument is one of the known values.

    Args:
        name: The argument's name.
        value: What was given.
        known: The known values.

    Raises:
        ValueError: It is none of them.
    """
    # A list, since what was given may not be hashable.
    choices = list(known)
    if value not in choices:
        raise ValueError(f'{name}={value!r}: must be one of {choices}')


def check_layers(
    in_channels: Any, norm_cfg: Any, act_cfg: Any, optional: Collection[str] = ()
) -> None:
    """Holds that a net can be built with these layers.

    Args:
        in_channels: The net's argument: channels of the images.
        norm_cfg: The net's argument: norm layers.
        act_cfg: The net's argument: activation layers.
        optional: Which of ``'norm_cfg'`` and ``'act_cfg'`` may be None.

    Raises:
        ValueError: One of them is not what it must be.

    Example:
        >>> check_layers(3, None, dict(type='ReLU'), optional=['norm_cfg'])
        >>> check_layers(3, 'BN', dict(type='ReLU'))
        Traceback (most recent call last):
        ValueError: norm_cfg='BN': must be a dict such as dict(type='BN')
    """
    check_count('in_channels', in_channels)
    check_cfg('norm_cfg', norm_cfg, 'BN', optional='norm_cfg' in optional)
    check_cfg('act_cfg', act_cfg, 'ReLU', optional='act_cfg' in optional)


def check_cfg(name: str, cfg: Any, layer: str, optional: bool = False) -> None:
    """Holds that an argument is the config of a layer.

    Args:
        name: The argument's name.
        cfg: What was given.
        layer: A layer to name as an example.
        optional: Whether it may be None.

    Raises:
        ValueError: It is none.
    """
    if cfg is None and optional:
        return
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        or_none = ', or None' if optional else ''
        raise ValueError(f'{name}={cfg!r}: must be a dict such as dict(type={layer!r}){or_none}')
