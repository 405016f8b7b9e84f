"""What all commands share: errors in one line, with exit code 2."""

from __future__ import annotations

import functools
import os
import sys
import time
import traceback
from collections.abc import Callable

from mmblocks.utils.errors import UserError, note

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_OTHERS_WAIT = 10.0  # seconds in which a launcher ends them, once the first has failed


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
    # It takes MMEngine's runner, which not every command has loaded.
    from mmblocks.engine.explain import explain

    return explain(error)
