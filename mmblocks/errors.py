"""Errors that the user can put right: said in one line, with exit code 2."""

from __future__ import annotations

import difflib
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


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
    """Ends a sentence with the known names nearest to the given one, or with nothing.

    Example:
        >>> did_you_mean('backbon', ['backbone', 'neck'])
        '; did you mean backbone?'
        >>> did_you_mean('backbon', ['neck'])
        ''
    """
    near = difflib.get_close_matches(given, sorted(known), n=3, cutoff=0.7)
    return f'; did you mean {" or ".join(near)}?' if near else ''


def first_line(error: BaseException) -> str:
    r"""The first line of what an exception says, or its name when it says nothing.

    Example:
        >>> first_line(ValueError('no such depth: 19\nsee the table'))
        'no such depth: 19'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Makes a function the main function of a script: ends the process with the right exit code.

    A ``UserError`` becomes one line and exit code 2, Ctrl-C exit code 130. Any other exception is
    a bug and keeps its traceback. With ``MMBLOCKS_DEBUG=1`` user errors show theirs too.
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except UserError as error:
            if os.environ.get('MMBLOCKS_DEBUG', '0') not in ('', '0'):
                traceback.print_exc()
            several = int(os.environ.get('WORLD_SIZE', '1')) > 1
            rank = f'[rank {os.environ.get("RANK", "0")}] ' if several else ''
            print(f'{rank}error: {error}', file=sys.stderr, flush=True)
            sys.exit(EXIT_USER_ERROR)
        except KeyboardInterrupt:
            note('interrupted')
            sys.exit(EXIT_INTERRUPTED)

    return run
