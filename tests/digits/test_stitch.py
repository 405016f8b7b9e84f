"""The stitching example, small, from its command line."""

from pathlib import Path

import pytest

from mmblocks.digits.comparison import Result, Step, choose
from mmblocks.digits.stitch import RUNS, rows
from mmblocks.engine import load_config
from tests.engine.tiny_run import tool

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_trains_a_stitched_net_and_the_plain_one_and_prints_the_table(tmp_path, monkeypatch):
    options = ['--only', 'stitch_eca_shufflenetv2', '--train-scenes=16', '--val-scenes=4']
    options += ['--timed-steps=1']
    monkeypatch.setenv('COLUMNS', '160')
    outcome = tool('stitch', *options, '--epochs=1', folder=tmp_path)
    said = outcome.out
    # So short a training may detect nothing at all, which the tool has to say.
    assert outcome.code == 0 or 'detected nothing' in said, said[-3000:]
    assert 'epoch  1 of 1   loss' in said
    folder = tmp_path / 'work_dirs' / 'stitch'
    assert (folder / 'retinanet_shufflenetv2_fpn_digits' / 'last_checkpoint').exists()
    if outcome.code == 0:
        assert (folder / 'table.md').read_text().count('\n') == 4


def test_every_stitched_config_is_run():
    configs = {path.stem for path in (ROOT / 'configs' / 'digits').glob('stitch_*.py')}
    assert configs == {run.name for run in RUNS if run.name.startswith('stitch_')}
    assert {run.base for run in RUNS} == {run.name for run in RUNS if run.name == run.base}


def test_the_table_is_relative_to_the_plain_net():
    runs = choose(RUNS, ['stitch_se_mobilenetv2'])
    configs = {run: load_config(f'mmblocks::digits/{run.name}.py') for run in runs}
    scores = dict(mAP=0.5, mAP50=0.75)
    table = rows(
        {
            run: Result(scores, Step(seconds, saved_bytes=100, trainable=10, total=20))
            for run, seconds in zip(runs, (2.0, 3.0), strict=True)
        },
        configs,
    )
    assert [row[0] for row in table] == ['net', 'MobileNetV2', '+ squeeze-and-excitation']
    assert [row[-1] for row in table[1:]] == ['1.00', '1.50']
    assert table[1][3] != table[2][3]
