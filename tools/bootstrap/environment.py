"""The environment of the checkout: its places, its Python, and pip in it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import console
from console import CommandFailed, SetupError

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
# What a user's shell may hold that would send packages elsewhere or bring others in.
STRAY = ('PYTHONPATH', 'PYTHONHOME', 'PIP_USER', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_ROOT')
NO_NETWORK = (
    'Failed to establish a new connection', 'NewConnectionError', 'Connection refused',
    'Temporary failure in name resolution', 'Name or service not known', 'Network is unreachable',
    'ConnectTimeoutError', 'ReadTimeoutError', 'Read timed out', 'Connection reset by peer',
    'ProxyError', 'SSLError', 'Max retries exceeded', 'Connection aborted',
)  # fmt: skip


def pinned(requirements: str, name: str) -> str:
    """Reads the version that a requirements file pins a distribution to."""
    text = (REQUIREMENTS / requirements).read_text()
    match = re.search(rf'^{name}==([^\s;]+)', text, re.MULTILINE)
    if match is None:
        raise SetupError(
            f'requirements/{requirements} pins no {name}', f'Add a line {name}==<version> to it.'
        )
    return match.group(1)


class Environment:
    """``.venv`` of a checkout. It need not exist yet."""

    def __init__(self) -> None:
        self.folder = ROOT / '.venv'
        self.state = self.folder / 'mmblocks'
        self.peers = ROOT / '.peers'
        self.log = ROOT / '.setup.log'
        self.python = self.folder / 'bin' / 'python'
        self.base_python = os.path.realpath(getattr(sys, '_base_executable', sys.executable))
        version = f'python{sys.version_info[0]}.{sys.version_info[1]}'
        self.site_packages = self.folder / 'lib' / version / 'site-packages'
        self.env = {key: value for key, value in os.environ.items() if key not in STRAY}

    @property
    def device_file(self) -> Path:
        """Says what mmcv's ops were built for, 'cpu' or 'cuda'; the demo reads it."""
        return self.folder / 'mmblocks-device'

    def torch_version(self) -> str:
        """The installed torch's version with its local part; '' where there is none."""
        try:
            text = (self.site_packages / 'torch' / 'version.py').read_text()
        except OSError:
            return ''
        match = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
        return match.group(1) if match else ''

    def run(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Runs a command with its output in the set-up's log."""
        console.run(command, self.log, env or self.env)

    def pip(
        self, what: str, command: str, *args: str | Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Runs pip, and says what its failure means.

        Args:
            what: What it is to do, as in 'pip could not ...'.
            command: pip's command.
            *args: The command's arguments.
            env: Variables to run with in place of the usual ones.

        Raises:
            SetupError: pip failed.
        """
        options = ['--disable-pip-version-check', '--no-input', '--progress-bar', 'off']
        try:
            self.run([self.python, '-m', 'pip', command, *options, *args], env)
        except CommandFailed as error:
            problem, remedy = explain(error.output)
            raise SetupError(
                f'pip could not {what}: {problem}\n{error.tail()}',
                f'{remedy}\nThe whole output is in {self.log}.',
            ) from error


def explain(output: str) -> tuple[str, str]:
    """Tells what pip's output says went wrong, and what to do about it."""
    if 'No space left on device' in output:
        return 'the disk is full', 'Make room, then run the same command again.'
    if any(sign in output for sign in NO_NETWORK):
        return (
            'could not reach the package index',
            'Check the network, and the proxy or mirror where one is needed (https_proxy,\n'
            'PIP_INDEX_URL), then run the same command again.',
        )
    if '(from versions: none)' in output:
        return (
            'could not reach the package index, or it has nothing of that name',
            'Check the network, and which index pip uses (pip config list, PIP_INDEX_URL,\n'
            'PIP_NO_INDEX), then run the same command again.',
        )
    if 'No matching distribution found' in output:
        return (
            'the package index lacks a pinned version',
            'Check which index pip uses (pip config list, PIP_INDEX_URL).',
        )
    return 'its last lines are', 'Mend what they name, then run the same command again.'
