"""Puts mmcv's compiled ops (the CPU's) into ``.peers/compiled``: ``make peers``.

The wheel that they come from is compiled once for each torch and Python and kept in the user's
cache. Runs in the environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / 'requirements' / 'compiled.txt'
CACHE = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'mmblocks', 'wheels')


def build(folder: Path) -> None:
    """Builds the wheel, which appears in the folder when it is whole."""
    if shutil.which('g++') is None:
        sys.exit("make peers: mmcv's ops need g++; on Debian and Ubuntu: sudo apt install g++")
    print(f'make peers: compiling into {folder}: 10 to 15 min on two cores, once', flush=True)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    subprocess.run([*pip, 'install', '-q', '--no-deps', '-c', PINS, 'ninja', 'psutil', 'wheel'])
    env = {
        'MAX_JOBS': str(os.cpu_count()),  # a compiler takes up to 2 GB; mmcv would start 4 at least
        **os.environ,
        'MMCV_WITH_OPS': '1',
        'CUDA_VISIBLE_DEVICES': '',  # mmcv's setup.py builds for any GPU that torch sees
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',  # for ninja
    }
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as new:
        options = ['--no-deps', '--no-build-isolation', '--no-cache-dir', '--no-binary=mmcv']
        command = [*pip, 'wheel', '-v', *options, '-c', PINS, '-w', new, 'mmcv']
        if subprocess.run(command, env=env).returncode:
            sys.exit('make peers: mmcv could not be built; the lines above say why')
        for wheel in Path(new).iterdir():
            wheel.replace(folder / wheel.name)


def main() -> None:
    """Takes the extension module out of the wheel, which is built where there is none."""
    mmcv = re.search(r'^mmcv==(\S+)', PINS.read_text(), re.MULTILINE)[1]
    python = f'cp{sys.version_info[0]}{sys.version_info[1]}-{sysconfig.get_platform()}'
    folder = CACHE / f'mmcv-{mmcv}-torch-{version("torch")}-{python}-cpu'
    if not list(folder.glob('*.whl')):
        build(folder)
    with zipfile.ZipFile(next(folder.glob('*.whl'))) as wheel:
        (name,) = (name for name in wheel.namelist() if name.startswith('mmcv/_ext.'))
        target = ROOT / '.peers' / 'compiled' / '_ext.so'
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(wheel.read(name))


main()
