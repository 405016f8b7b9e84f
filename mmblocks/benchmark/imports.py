"""How long the libraries take to import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mmblocks.benchmark.peers import MODULES, PEERS

# torch, which all of them import, is left out. What they print goes elsewhere.
_CODE = """
import contextlib, runpy, sys, time
import torch
declare_schemas = runpy.run_path(sys.argv[1])['declare_schemas']
sys.path.append(sys.argv[2])
fragment = declare_schemas()
with contextlib.redirect_stdout(sys.stderr):
    start = time.process_time()
    __import__(sys.argv[3])
    seconds = time.process_time() - start
print(seconds)
"""
_SCHEMAS = Path(__file__).with_name('schemas.py')


def import_seconds(
    libraries: Sequence[str],
    rounds: int,
    folder: Path = PEERS,
    after_round: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Measures how long libraries take to import, each in processes of its own, all in turn.

    Args:
        libraries: Which.
        rounds: How often.
        folder: Where the peers are.
        after_round: Called after each round.

    Returns:
        The seconds of each round, by library; torch's import is left out. Not in it is a library
        that cannot be imported alone, as mmdet beside mmcv-lite.
    """
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for library in libraries:
            files = (str(_SCHEMAS), str(folder), MODULES[library])
            result = subprocess.run(
                [sys.executable, '-c', _CODE, *files], capture_output=True, text=True
            )
            if result.returncode == 0:
                seconds.setdefault(library, []).append(float(result.stdout.split()[-1]))
        after_round()
    return seconds
