"""``KEY=VALUE`` options on the command line of a tool."""

from __future__ import annotations

import argparse
import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config

_CLOSING = {'(': ')', '[': ']'}
_QUOTES = ('"', "'")


class KeyValues(argparse.Action):
    """An argparse action that takes ``KEY=VALUE`` pairs; given several times, they add up.

    Values are as MMEngine's, see `parse_value`, but what stands in a string stays in it.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Takes the pairs of a command line."""
        options = copy.copy(getattr(namespace, self.dest, None) or {})
        for pair in values:
            key, sign, text = pair.partition('=')
            if not sign or not key:
                parser.error(f'{self.option_strings[0]} takes KEY=VALUE pairs, not {values}')
            try:
                options[key] = parse_value(text)
            except ValueError as error:
                parser.error(f'{self.option_strings[0]} takes KEY=VALUE pairs, not {pair}: {error}')
        setattr(namespace, self.dest, options)


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config that dotted keys stand for.

    Args:
        options: Values by dotted keys, as `KeyValues` reads them.

    Example:
        >>> nested({'depth': 18, 'norm_cfg.type': 'BN'})
        {'depth': 18, 'norm_cfg': {'type': 'BN'}}
    """
    cfg = Config({})
    cfg.merge_from_dict(dict(options))
    return cfg.to_dict()


def parse_value(text: str) -> Any:
    """Reads the value of an option.

    Args:
        text: An int, a float, ``true`` or ``false``, ``None``, a list as ``[1, 2]`` or ``1,2``, a
            tuple as ``(1, 2)``, or else a string, for which no quotes are needed. Within quotes
            everything is a string: commas and brackets, and what would be a number.

    Returns:
        The value.

    Raises:
        ValueError: A list is not closed, or it is a dict.

    Example:
        >>> parse_value('[1, (0.5, none of it)]')
        [1, (0.5, 'none of it')]
        >>> parse_value('/my data/a.pth')
        '/my data/a.pth'
        >>> parse_value("'/data/a,b.pth'")
        '/data/a,b.pth'
    """
    text = text.strip()
    if text.startswith(('{', 'dict(')):
        raise ValueError(f'{text} is a dict; write KEY.a=1 for KEY=dict(a=1)')
    parts = _split(text)
    if len(parts) > 1:
        return _parse_all(parts)
    if text[:1] in _CLOSING and _is_one_bracket(text):
        items = _parse_all(_split(text[1:-1]))
        return tuple(items) if text[0] == '(' else items
    if len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        return text[1:-1]
    return _parse_word(text)


def _split(text: str) -> list[str]:
    """Splits at the commas that are outside of brackets and quotes."""
    commas = [i for i, char, depth in _unquoted(text) if char == ',' and depth == 0]
    edges = zip([-1, *commas], [*commas, len(text)], strict=True)
    return [text[before + 1 : after] for before, after in edges]


def _is_one_bracket(text: str) -> bool:
    """Returns whether the bracket that a text begins with closes at its end, and not before."""
    end = next((i for i, _, depth in _unquoted(text) if depth == 0), None)
    if end is None or (end == len(text) - 1 and text[end] != _CLOSING[text[0]]):
        raise ValueError(
            f'{text} begins with {text[0]} that is not closed; quotes make it a string'
        )
    return end == len(text) - 1


def _unquoted(text: str) -> Iterator[tuple[int, str, int]]:
    """Returns the characters outside of quotes: index, character, and brackets open after it."""
    depth, quote, before = 0, '', ','
    for i, char in enumerate(text):
        if quote:
            quote = '' if char == quote else quote
        elif char in _QUOTES and before in ',([':  # elsewhere it is an apostrophe
            quote = char
        else:
            depth += (char in _CLOSING) - (char in _CLOSING.values() and depth > 0)
            yield i, char, depth
        before = before if char.isspace() else char


def _parse_all(parts: Sequence[str]) -> list[Any]:
    return [parse_value(part) for part in parts if part.strip()]


def _parse_word(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {'true': True, 'false': False}.get(text.lower(), None if text == 'None' else text)
