"""Files that are changed at random are read or refused in one line: no crash, code or traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNT, SEED = 3000, 0


@pytest.mark.slow
def test_changed_files_are_read_or_refused(tmp_path):
    script = Path(__file__).with_name('fuzz_run.py')
    result = subprocess.run(
        [sys.executable, str(script), str(COUNT), str(SEED), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    said = json.loads(result.stdout.splitlines()[-1])
    assert not said['wrong'], '\n'.join(said['wrong'][:5])
    assert sum(said['found'].values()) == COUNT
    # Both happen to files of every kind: the changes leave some whole and some not.
    assert all(
        said['found'].get(f'{kind} {what}', 0) > 2
        for kind in ('pkl', 'zip', 'old', 'safetensors')
        for what in ('read', 'refused')
    )
