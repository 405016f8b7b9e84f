"""Checks that come before long work, with messages that say how to get what is missing."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from console import SetupError, say

NEEDED_SPACE = 6e9  # bytes: torch, mmcv's objects while they compile, and room for CUDA's parts
PYTHON = f'python{sys.version_info[0]}.{sys.version_info[1]}'
AGAIN = 'Then run the same command again.'


def check_venv_module() -> None:
    """Debian keeps the parts that make an environment in a package of their own."""
    if any(importlib.util.find_spec(name) is None for name in ('venv', 'ensurepip')):
        raise SetupError(
            f'{sys.executable} has no venv and ensurepip, which make the environment',
            f'On Debian and Ubuntu: sudo apt install {PYTHON}-venv\n'
            f'Elsewhere, name a complete Python: make PYTHON=/path/to/python3.11 ...\n{AGAIN}',
        )


def check_compiler() -> None:
    """mmcv's ops need a C++ compiler with the standard library and Python's headers."""
    compiler = shlex.split(os.environ.get('CXX', 'g++'))
    named = 'CXX names' if 'CXX' in os.environ else 'that is'
    remedy = (
        'On Debian and Ubuntu: sudo apt install g++\nOn Fedora: sudo dnf install gcc-c++\n'
        f'Or name another compiler: CXX=/path/to/g++ make ...\n{AGAIN}'
    )
    if not compiler or shutil.which(compiler[0]) is None:
        raise SetupError(
            f"no C++ compiler: {named} '{' '.join(compiler)}', which is not there; "
            "mmcv's ops must be compiled",
            remedy,
        )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, 'check.cpp')
        source.write_text(
            '#include <optional>\nint main() { return std::optional<int>(0).value(); }'
        )
        result = subprocess.run(
            [*compiler, '-std=c++17', str(source), '-o', str(Path(folder, 'check'))],
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        raise SetupError(
            f"the C++ compiler '{' '.join(compiler)}' does not compile a small C++17 program:\n"
            + result.stderr.rstrip(),
            remedy,
        )
    header = Path(sysconfig.get_paths()['include'], 'Python.h')
    if not header.exists():
        raise SetupError(
            f"Python's headers are missing ({header}); mmcv's ops are compiled with them",
            f'On Debian and Ubuntu: sudo apt install {PYTHON}-dev\n'
            f'On Fedora: sudo dnf install {PYTHON}-devel\n{AGAIN}',
        )


def check_space(folder: Path) -> None:
    """Says so where the disk may be too small, and goes on: how much is needed varies."""
    free = shutil.disk_usage(folder).free
    if free < NEEDED_SPACE:
        say(
            f'set-up: only {free / 1e9:.1f} GB are free on the disk of {folder}; '
            f'{NEEDED_SPACE / 1e9:.0f} GB are safe'
        )


def gpu_facts() -> str:
    """What decides between the CPU's and the GPU's ops, found in no time; '' without a GPU.

    It need not be exact: torch has the last word when the ops are built. It only has to change
    when a driver or a CUDA toolkit comes or goes, so that the ops are then looked at again.
    """
    if shutil.which('nvidia-smi') is None and not os.path.exists('/dev/nvidiactl'):
        return ''
    return f'gpu, nvcc at {shutil.which("nvcc")}, CUDA_HOME={os.environ.get("CUDA_HOME")}'
