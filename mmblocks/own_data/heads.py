"""The numbers of classes in a detector's config, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmblocks.own_data.edits import Edits
from mmblocks.swap.detector import Keys, dotted
from mmblocks.swap.text import Code
from mmblocks.utils.errors import UserError

_KEYS = ('num_classes', 'num_things_classes')


def set_num_classes(edits: Edits, number: int, of_base: int | None) -> list[str]:
    """Sets the number of classes of every head.

    Heads of two-stage detectors, of cascades, of masks and of DETRs, and the weights of their
    classes. An RPN tells objects from background, whatever their classes, and stays.

    Args:
        edits: The config.
        number: How many classes the own data has.
        of_base: How many the data of the base has; None if that is not known.

    Returns:
        Lines that say what was set.

    Raises:
        UserError: No head has a number of classes that is the base's.
    """
    counts = dict(_counts(edits.cfg['model'], ('model',)))
    if stuff := [p for p, v in counts.items() if p[-1] == 'num_stuff_classes' and v]:
        raise UserError(
            f'the base also segments background ({dotted(stuff[0])}={counts[stuff[0]]}); take one '
            'that detects objects or their masks only'
        )
    heads = {path: value for path, value in counts.items() if path[-1] in _KEYS}
    old = of_base if of_base in heads.values() or of_base is None else None
    if old is None and len(set(heads.values())) == 1:
        (old,) = set(heads.values())
    if old is None:
        found = ', '.join(f'{dotted(path)}={value}' for path, value in heads.items()) or 'none'
        raise UserError(
            f'no head of the base has the number of its classes ({of_base or "unknown"}); found: '
            f'{found}. Take a detector of boxes or masks with heads for classes'
        )
    lines = []
    for path, value in heads.items():
        if value == old:
            edits.set(path, number)
            lines.append(f'{dotted(path[1:])} {value} -> {number}')
        else:
            lines.append(f'{dotted(path[1:])} {value}: unchanged')
    for path, weights in _weights(edits.cfg['model'], ('model',), old):
        new = [weights[0]] * number + list(weights[old:])
        edits.set(path, new, written=_repeated(weights[0], number, weights[old:]))
        lines.append(f'{dotted(path[1:])} of {len(weights)} -> of {len(new)}')
    return lines


def _counts(value: Any, path: Keys) -> Iterator[tuple[Keys, int]]:
    for key, inner in _items(value):
        if key in (*_KEYS, 'num_stuff_classes') and isinstance(inner, int):
            yield (*path, key), inner
        elif key != 'rpn_head':
            yield from _counts(inner, (*path, key))


def _weights(value: Any, path: Keys, number: int) -> Iterator[tuple[Keys, list[Any]]]:
    """Returns weights per class, with or without one for background behind, and their places."""
    for key, inner in _items(value):
        is_list = key == 'class_weight' and isinstance(inner, (list, tuple))
        if is_list and len(inner) in (number, number + 1) and len(set(inner[:number])) == 1:
            yield (*path, key), list(inner)
        else:
            yield from _weights(inner, (*path, key), number)


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)


def _repeated(weight: Any, number: int, rest: list[Any]) -> Code:
    return Code(f'[{weight!r}] * {number}' + (f' + {rest!r}' if rest else ''))
