"""Sets up the environment of this checkout with pip: ``run.sh GOAL``, as the Makefile does.

A step that is whole leaves a stamp, a hash of what it depends on, and is then skipped.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV, PEERS = ROOT / '.venv', ROOT / '.peers'
PYTHON = VENV / 'bin' / 'python'
BASE_PYTHON = os.path.realpath(sys._base_executable)
# Of a user's shell, what would send packages elsewhere or bring others in.
STRAY = ('PYTHONPATH', 'PYTHONHOME', 'PIP_USER', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_ROOT')
STEPS = {  # what it installs, the files that it depends on, and pip's arguments ({pin}: its own)
    'venv': ('an environment in .venv', '', ''),
    'ruff': ('ruff', 'tests.txt', '--no-deps {pin}'),
    'torch': ('torch (200 MB, with CUDA 3 GB)', 'runtime.txt', '-c {0} {pin}'),
    'runtime': ('mmdet and the rest', 'runtime.txt demo.txt', '--no-deps -r {0} -r {1}'),
    'package': (
        'this checkout',
        '../setup.py ../mmblocks/version.py',
        '--no-deps --no-build-isolation -e .',
    ),
    'tests': ('what the tests need', 'tests.txt', '--no-deps -r {0}'),
    'docs': ('what builds the documentation', 'docs.txt', '--no-deps -r {0}'),
    'peers': ('libraries to compare with, in .peers', 'peers.txt', '--no-deps -t .peers -r {0}'),
}
DEMO = ['venv', 'torch', 'runtime', 'package']
TEST = [*DEMO, 'tests', 'peers']
GOALS = {'lint': ['venv', 'ruff'], 'demo': DEMO, 'docs': [*DEMO, 'docs'], 'test': TEST}
REMEDIES = {  # by a sign in the last lines of what failed
    'No space left on device': 'the disk is full; make room',
    r'onnection|name resolution|unreachable|[Tt]imed? ?out|ProxyError|SSLError': (
        'the package index is out of reach; check the network, and the proxy or mirror\n'
        '  where one is needed (https_proxy, PIP_INDEX_URL)'
    ),
    'No matching distribution found': (
        'the package index lacks this version; see which one pip asks (pip config list,\n'
        '  PIP_INDEX_URL, PIP_NO_INDEX)'
    ),
    '': 'mend what these lines name',
}


def run(*command: str | Path) -> None:
    """Runs a command, and shows which large files it downloads, and its last lines if it fails."""
    last_lines = deque(maxlen=8)
    with subprocess.Popen(
        command, cwd=ROOT, text=True, errors='replace', stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        close_fds=False,  # so that it keeps the lock, should this process be killed
        env={name: value for name, value in os.environ.items() if name not in STRAY},
    ) as process:  # fmt: skip
        try:
            for line in process.stdout:
                last_lines.append(f'    {line.strip()}\n')
                if re.search(r'Downloading .*\(\d\d+\.\d MB|GB\)', line):
                    print(last_lines[-1], end='', flush=True)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        output = ''.join(last_lines)
        remedy = next(text for sign, text in REMEDIES.items() if re.search(sign, output))
        sys.exit(f'{output}set-up: {remedy}, then run the same command again')


def make_venv() -> None:
    """Makes ``.venv`` anew, unless something else made the one that is there."""
    if os.path.lexists(VENV) and (VENV.is_symlink() or not (VENV / 'mmblocks').is_dir()):
        sys.exit(f'set-up: {VENV} was made by something else: move it away')
    if importlib.util.find_spec('ensurepip') is None:  # Debian has it in a package of its own
        sys.exit(
            f'set-up: {BASE_PYTHON} lacks venv; on Debian: sudo apt install python3-venv\n'
            '  Or name a Python that has it: make PYTHON=/path/to/python3.11 ...'
        )
    shutil.rmtree(VENV, ignore_errors=True)
    (VENV / 'mmblocks').mkdir(parents=True)
    run(BASE_PYTHON, '-m', 'venv', VENV)


def do(name: str) -> None:
    """Does a step if it is not whole."""
    what, files, arguments = STEPS[name]
    files = [f'requirements/{file}' for file in files.split()]
    text = '\0'.join((ROOT / file).read_text() for file in files)
    key = hashlib.sha256(f'{BASE_PYTHON} {sys.version} {text}'.encode()).hexdigest()
    stamp = PEERS / '.stamp' if name == 'peers' else VENV / 'mmblocks' / name
    if os.access(PYTHON, os.X_OK) and stamp.is_file() and stamp.read_text() == key:
        return
    print(f'set-up: installing {what}', flush=True)
    stamp.unlink(missing_ok=True)
    if name == 'venv':
        make_venv()
    else:
        if name == 'peers':
            shutil.rmtree(PEERS, ignore_errors=True)
        options = ['--disable-pip-version-check', '--no-input', '--progress-bar=off']
        pin = re.search(rf'^{name}==\S+|\Z', text, re.MULTILINE)[0]
        run(PYTHON, '-m', 'pip', 'install', *options, *arguments.format(*files, pin=pin).split())
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(key)


def main(goal: str) -> None:
    """Sets up what a goal needs, one process at a time."""
    with open(ROOT / '.setup.lock', 'w') as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('set-up: another one is at work here; waiting for its end', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for name in GOALS[goal]:
            do(name)


signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    main(sys.argv[1])
except OSError as error:
    sys.exit(f'set-up: {error}')
except KeyboardInterrupt:
    print('set-up: interrupted; the same command takes it up again', file=sys.stderr)
    sys.exit(130)
