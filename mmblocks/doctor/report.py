"""Printing the state of an environment in one screen."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from mmblocks.doctor.installed import DISTRIBUTIONS, installed
from mmblocks.doctor.probe import DEVICES, OPS
from mmblocks.doctor.problems import Probed, Problem, find_problems

_SECONDS = 180  # in which everything is imported, also from a slow disk
_SCRIPT = 'doctor.py'
_STARTS = ('mmblocks', 'mmblocks.exe', '-m', '__main__.py')


class Diagnosis(NamedTuple):
    """The state of an environment.

    Attributes:
        text: What to print.
        problems: What is wrong.
    """

    text: str
    problems: list[Problem]


def diagnose() -> Diagnosis:
    """Imports everything in a process of its own and says what is there and what is wrong.

    Example:
        >>> print(diagnose().text)  # doctest: +SKIP
        python          3.11.7 (/usr/bin/python)
    """
    probed = _probe()
    problems = find_problems(probed)
    lines = [('python', f'{platform.python_version()} ({sys.executable})')]
    lines += [('platform', platform.platform())]
    absent = []
    for library in DISTRIBUTIONS:
        found = installed(library)
        version = probed.get(library, {}).get('version', '')
        if not found and not version:
            absent.append(library.partition('.')[0])
            continue
        names = ', '.join(f'{name} {number}' for name, number in found.items())
        broken = '  (cannot be imported)' if probed.get(library, {}).get('error') else ''
        # Not every version is the one of the metadata: torch's tells the build.
        built = f' ({version})' if version and version not in found.values() else ''
        lines.append((library.partition('.')[0], f'{names or "no metadata"}{built}{broken}'))
    lines += [('not there', ', '.join(absent))] if absent else []
    lines += [('ops', _ops(probed)), ('devices', _devices(probed))]
    text = '\n'.join(f'{name:<16}{value}' for name, value in lines)
    for problem in problems:
        text += f'\nproblem         {problem.text}\n    remedy      {problem.remedy}'
    end = f'{len(problems)} found; see above' if problems else 'none found'
    return Diagnosis(f'{text}\nproblems        {end}', problems)


def run_if_asked() -> None:
    """Runs the doctor and ends the process, if that is what the command line asks for.

    ``mmblocks doctor`` has to work where the package itself cannot be imported.
    """
    start = Path(sys.argv[0]).name
    if start == _SCRIPT or (start in _STARTS and sys.argv[1:2] == ['doctor']):
        diagnosis = diagnose()
        print(diagnosis.text)
        sys.exit(1 if diagnosis.problems else 0)


def _probe() -> Probed:
    """Returns what importing each library has shown; where that ends the process, that too."""
    file = Path(__file__).with_name('probe.py')
    try:
        done = subprocess.run(
            [sys.executable, str(file)], capture_output=True, text=True, timeout=_SECONDS
        )
        output, end = done.stdout, f'ended the process with exit code {done.returncode}'
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ''
        end = f'takes longer than {_SECONDS} s'
    found: dict[str, Any] = {}
    for line in output.splitlines():
        try:
            result = json.loads(line)
            found[result['name']] = result
        except (ValueError, TypeError, KeyError):  # what a library printed past Python
            continue
    # Of the last one there is only the line before.
    return {
        name: result if len(result) > 1 else dict(result, error=end)
        for name, result in found.items()
    }


def _ops(probed: Probed) -> str:
    ops = probed.get(OPS, {})
    chosen = os.environ.get('MMBLOCKS_OPS')
    why = f'MMBLOCKS_OPS={chosen}' if chosen else 'MMBLOCKS_OPS is not set'
    if 'compiled' not in ops:
        return f'cannot be used ({why})'
    which = "mmcv's compiled ones" if ops['compiled'] else "mmblocks' PyTorch forms"
    return f'{which} ({why})'


def _devices(probed: Probed) -> str:
    devices = probed.get(DEVICES, {})
    if 'found' not in devices:
        return 'unknown without torch'
    return f'{", ".join(devices["found"])}; torch is built for {devices["build"]}'
