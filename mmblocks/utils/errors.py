"""Errors that the user can put right, and what is said about them."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable


class UserError(Exception):
    """Something that the user can put right, said in one line."""


def note(message: str) -> None:
    """Prints a line for the user, once per job."""
    if os.environ.get('RANK', '0') == '0':
        print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Prints a warning for the user, once per job."""
    note(f'warning: {message}')


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Returns the end of a sentence: the known names nearest to the given one, or nothing.

    Example:
        >>> did_you_mean('backbon', ['backbone', 'neck'])
        '; did you mean backbone?'
        >>> did_you_mean('backbon', ['neck'])
        ''
    """
    near = difflib.get_close_matches(given, sorted(known), n=3, cutoff=0.7)
    return f'; did you mean {" or ".join(near)}?' if near else ''


def first_line(error: BaseException) -> str:
    r"""Returns the first line of an exception's message, or its name where it has none.

    Example:
        >>> first_line(ValueError('no such depth: 19\nsee the table'))
        'no such depth: 19'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
