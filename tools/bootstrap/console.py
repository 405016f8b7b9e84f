"""What the set-up says, and how it runs commands that take long."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TICK = 1.0  # seconds between two looks at a running command
LINE_EVERY = 60.0  # seconds between two lines of progress where there is no terminal
TAIL_LINES = 8


class SetupError(Exception):
    """The set-up cannot go on.

    Args:
        problem: What is missing or went wrong, in one line.
        remedy: How to get it, in lines of their own.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class CommandFailed(Exception):
    """A command ended with a status other than 0; ``output`` is what it printed."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output

    def tail(self) -> str:
        """The last lines of the output, indented."""
        lines = [line.rstrip() for line in self.output.splitlines() if line.strip()]
        return '\n'.join(f'    {line}' for line in lines[-TAIL_LINES:])


def say(text: str) -> None:
    """Prints at once."""
    print(text, flush=True)


def duration(seconds: float) -> str:
    """Writes a time as a person would."""
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def run(command: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> None:
    """Runs a command with its output in a log, showing the time and ninja's count of files.

    The command dies with this process. It inherits the set-up's lock, so that even where this
    process was killed outright, no other set-up starts beside what it left running.

    Raises:
        CommandFailed: The command's status is not 0.
    """
    start = time.monotonic()
    with open(log, 'ab') as sink:
        begin = sink.tell()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
            close_fds=False,
        )
        progress = _Progress(start)
        try:
            while True:
                try:
                    status = process.wait(TICK)
                    break
                except subprocess.TimeoutExpired:
                    progress.show(log, begin)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
        finally:
            progress.clear()
    if status:
        raise CommandFailed(_read(log, begin))


class _Progress:
    """A line that counts on in a terminal, or a line a minute elsewhere."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.terminal = sys.stdout.isatty()
        self.last_line = start

    def show(self, log: Path, begin: int) -> None:
        now = time.monotonic()
        if not self.terminal and now - self.last_line < LINE_EVERY:
            return
        self.last_line = now
        text = f'    {duration(now - self.start)}'
        if counts := re.findall(r'^\s*\[(\d+)/(\d+)\]', _read(log, begin), re.MULTILINE):
            text += ', {} of {} files compiled'.format(*counts[-1])
        print(f'\r\033[K{text}' if self.terminal else text, end='', flush=True)
        if not self.terminal:
            print(flush=True)

    def clear(self) -> None:
        if self.terminal:
            print('\r\033[K', end='', flush=True)


def _read(log: Path, begin: int) -> str:
    with open(log, 'rb') as file:
        file.seek(begin)
        return file.read().decode('utf-8', 'replace')
