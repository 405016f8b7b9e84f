"""Ways to end a process in the midst of writing a file, or to let its disk be full."""

import contextlib
import os
import resource
import signal
import sys


def limit_files(size, kill):
    """From now on, files end at a size: the system refuses to write more, or ends the process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kill else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextlib.contextmanager
def limits_put_back():
    """Ends what `limit_files` has begun within it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.getsignal(signal.SIGXFSZ)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)


def signal_that_ended(function):
    """Calls a function in a copy of this process; gives the signal that ended the copy."""
    process = os.fork()
    if process == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            function()
        finally:
            sys.stdout.flush()
            os._exit(1)
    _, status = os.waitpid(process, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
