"""Writing a config as a person would, in the form that ruff gives to code."""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

_WIDTH = 100
_INDENT = 4


class Code(str):
    """An expression that stands in a config as it is: the name of a variable, say."""


def written(
    title: str,
    variables: Mapping[str, Any],
    comments: Mapping[tuple[str | int, ...], str] = {},
) -> str:
    r"""Returns the text of a config.

    Args:
        title: Its first line, a comment.
        variables: The values by the names of the variables, in the order of the text.
        comments: Comments to stand above variables or entries of theirs, by the keys that lead
            there.

    Example:
        >>> print(written('# Ours.', dict(a=1, b=dict(c=Code('a'))), {('b',): 'Both.'}), end='')
        # Ours.
        a = 1
        # Both.
        b = dict(c=a)
    """
    lines = [title]
    for name, value in variables.items():
        if comment := comments.get((name,)):
            lines.append(f'# {comment}')
        inner = {keys[1:]: text for keys, text in comments.items() if keys[0] == name and keys[1:]}
        lines.append(assignment(name, value, inner))
    return '\n'.join(lines) + '\n'


def assignment(name: str, value: Any, comments: Mapping[tuple[str | int, ...], str] = {}) -> str:
    r"""Writes ``name = value``.

    Args:
        name: Name of the variable.
        value: Its value, of dicts, lists, tuples and plain values.
        comments: Comments to stand above entries of nested dicts, by the keys that lead there.
            Dicts around a comment are written one entry per line.

    Returns:
        The lines.

    Example:
        >>> print(assignment('neck', dict(type='FPN'), {('type',): 'Ours.'}))
        neck = dict(
            # Ours.
            type='FPN',
        )
    """
    return '\n'.join(_lines(f'{name} = ', value, '', 0, dict(comments)))


def _lines(
    before: str, value: Any, after: str, indent: int, comments: dict[tuple[str | int, ...], str]
) -> list[str]:
    margin = ' ' * indent
    flat = f'{margin}{before}{inline(value)}{after}'
    if not comments and (len(flat) <= _WIDTH or not _is_container(value)):
        return [flat]
    opening, closing = _brackets(value)
    lines = [f'{margin}{before}{opening}']
    for key, start, inner in _entries(value):
        if comment := comments.get((key,)):
            lines.append(f'{margin}{" " * _INDENT}# {comment}')
        deeper = {path[1:]: text for path, text in comments.items() if path[0] == key and path[1:]}
        lines += _lines(start, inner, ',', indent + _INDENT, deeper)
    return [*lines, f'{margin}{closing}{after}']


def inline(value: Any) -> str:
    """Writes a value on one line.

    Example:
        >>> inline(dict(type='BN', sizes=[1, 2], place=(0,)))
        "dict(type='BN', sizes=[1, 2], place=(0,))"
    """
    if isinstance(value, Code):
        return str(value)
    if not _is_container(value):
        return repr(value)
    opening, closing = _brackets(value)
    inside = ', '.join(f'{start}{inline(inner)}' for _, start, inner in _entries(value))
    if isinstance(value, tuple) and len(value) == 1:
        inside += ','
    return f'{opening}{inside}{closing}'


def _is_container(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple)) and len(value) > 0


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, Mapping):
        return ('dict(', ')') if _has_names(value) else ('{', '}')
    return ('(', ')') if isinstance(value, tuple) else ('[', ']')


def _entries(value: Any) -> list[tuple[str, str, Any]]:
    """Returns key, beginning and value of each entry."""
    if not isinstance(value, Mapping):
        return [('', '', inner) for inner in value]
    if _has_names(value):
        return [(key, f'{key}=', inner) for key, inner in value.items()]
    return [(str(key), f'{key!r}: ', inner) for key, inner in value.items()]


def _has_names(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(k, str) and k.isidentifier() and not iskeyword(k) for k in value)
