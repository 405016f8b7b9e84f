"""Errors that the user can put right: said in one line, with exit code 2."""

from __future__ import annotations

import difflib
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_OTHERS_WAIT = 10.0  # seconds in which a launcher ends them, once the first has failed


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


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Makes a function the main function of a script: ends the process with the right exit code.

    What the user can put right becomes one line and exit code 2: a ``UserError``, and what
    `mmblocks.engine.explain` says of any other exception. Ctrl-C is exit code 130. Everything else
    is a bug and keeps its traceback. With ``--debug`` or ``MMBLOCKS_DEBUG=1`` the others show
    theirs too.

    In a job of several processes they mostly fail alike. The first one speaks at once and the
    others after a moment, in which the launcher ends them.
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except KeyboardInterrupt:
            note('interrupted')
            sys.exit(EXIT_INTERRUPTED)
        except Exception as error:
            line = str(error) if isinstance(error, UserError) else _explanation(error)
            if line is None:
                raise
            if '--debug' in sys.argv or os.environ.get('MMBLOCKS_DEBUG', '0') not in ('', '0'):
                traceback.print_exc()
            rank = os.environ.get('RANK', '0')
            if rank != '0':
                time.sleep(_OTHERS_WAIT)
                line = f'[rank {rank}] error: {line}'
            else:
                line = f'error: {line}'
            print(line, file=sys.stderr, flush=True)
            sys.exit(EXIT_USER_ERROR)

    return run


def _explanation(error: Exception) -> str | None:
    # Imports MMEngine's runner, which not every command has loaded.
    from mmblocks.engine.explain import explain

    return explain(error)
