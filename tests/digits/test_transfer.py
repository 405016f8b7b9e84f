"""The transfer example, small, from its command line."""

import pytest
from rich.console import Console

from mmblocks.digits.comparison import Result, Step, choose, write_table
from mmblocks.digits.transfer import RUNS, rows
from tests.engine.tiny_run import tool


@pytest.mark.slow
def test_it_trains_runs_and_prints_the_table(tmp_path, monkeypatch):
    options = ['--source-scenes=16', '--target-scenes=8', '--val-scenes=4', '--epochs=1']
    options += ['--timed-steps=1', '--only', 'scratch', 'frozen_9']
    runs = choose(RUNS, ['scratch', 'frozen_9'])
    assert [run.name for run in runs] == ['scratch', 'frozen_none', 'frozen_9']
    monkeypatch.setenv('COLUMNS', '160')
    outcome = tool('transfer', *options, folder=tmp_path)
    said = outcome.out
    # So short a training may detect nothing at all, which the tool has to say.
    assert outcome.code == 0 or 'detected nothing' in said, said[-3000:]
    assert said.count('epoch  1 of 1   loss') == 1 + len(runs)
    for run in runs:
        assert run.title in said
        assert (tmp_path / 'work_dirs' / 'transfer' / run.name / 'last_checkpoint').exists()


def test_the_table_is_relative_to_fine_tuning_with_nothing_frozen(tmp_path, capsys):
    steps = {
        run: Step(seconds=2.0 - 0.1 * run.frozen_stages, saved_bytes=100, trainable=10**6,
                  total=2 * 10**6)
        for run in RUNS
    }  # fmt: skip
    scores = {'mAP': 0.5, 'mAP50': 0.75}
    table = rows({run: Result(scores, step) for run, step in steps.items()})
    by_title = {row[0]: row for row in table}
    assert by_title['fine-tuned, nothing frozen'][1:] == (
        '0.500', '0.750', '1.00 of 2.00 M', '1.00', '1.00',
    )  # fmt: skip
    assert by_title['fine-tuned, whole backbone frozen'][4] == '0.52'
    write_table(table, tmp_path / 'table.md', Console())
    text = (tmp_path / 'table.md').read_text()
    assert text in capsys.readouterr().out
    assert len(text.splitlines()) == len(RUNS) + 2
    assert len({line.count('|') for line in text.splitlines()}) == 1
