"""The stitching example, small, from its command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmblocks.stitch import RUNS, choose, markdown, rows

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_it_trains_a_stitched_net_and_the_plain_one_and_prints_the_table(tmp_path):
    options = ['--only', 'stitch_eca_shufflenetv2', '--train-scenes=16', '--val-scenes=4']
    options += ['--timed-steps=1']
    result = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / 'stitch.py'), *options, '--epochs=1'],
        cwd=tmp_path,
        env=dict(os.environ, COLUMNS='160', OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        check=False,
    )
    # So short a training may detect nothing at all, which the tool has to say.
    said = result.stdout + result.stderr
    assert result.returncode == 0 or 'detected nothing' in said, said[-3000:]
    assert 'epoch  1 of 1   loss' in said
    folder = tmp_path / 'work_dirs' / 'stitch'
    assert (folder / 'retinanet_shufflenetv2_fpn_digits' / 'last_checkpoint').exists()
    if result.returncode == 0:
        assert (folder / 'table.md').read_text().count('\n') == 4


def test_every_stitched_config_is_run():
    configs = {path.stem for path in (ROOT / 'configs' / 'digits').glob('stitch_*.py')}
    assert configs == {run.config for run in RUNS if run.config.startswith('stitch_')}
    assert {run.plain for run in RUNS} == {run.config for run in RUNS if run.config == run.plain}


def test_the_table_is_relative_to_the_plain_net():
    from mmblocks.engine import load_config

    runs = choose(['stitch_se_mobilenetv2'])
    configs = {run: load_config(f'mmblocks::digits/{run.config}.py') for run in runs}
    seconds = dict(zip(runs, (2.0, 3.0), strict=True))
    table = rows({run: dict(mAP=0.5, mAP50=0.75) for run in runs}, seconds, configs)
    assert [row[0] for row in table] == ['net', 'MobileNetV2', '+ squeeze-and-excitation']
    assert [row[-1] for row in table[1:]] == ['1.00', '1.50']
    assert table[1][3] != table[2][3]
    assert markdown(table).count('\n') == 4
