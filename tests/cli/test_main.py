"""The command ``mmblocks``: every command is there and is the script in ``tools/``."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mmblocks.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = dict(swap='swap_backbone', convert='convert_weights', describe='describe_backbones')


@pytest.fixture
def run_mmblocks(run_command):
    """Runs ``python -m mmblocks`` in this process; gives its exit code and what it printed."""

    def run(*args):
        return run_command(
            lambda: runpy.run_module('mmblocks', run_name='__main__'), 'mmblocks', *args
        )

    return run


@pytest.fixture
def run_script(run_command):
    """Runs the script of a command in this process; gives its exit code and what it printed."""

    def run(name, *args):
        path = ROOT / 'tools' / f'{SCRIPTS.get(name, name)}.py'
        return run_command(lambda: runpy.run_path(str(path), run_name='__main__'), path, *args)

    return run


def test_its_help_lists_the_commands_and_loads_nothing_that_only_they_need():
    code = (
        'import runpy, sys\n'
        "sys.argv = ['mmblocks', '--help']\n"
        'try:\n'
        "    runpy.run_module('mmblocks', run_name='__main__')\n"
        'except SystemExit as end:\n'
        '    assert end.code == 0\n'
        "needed = ('mmdet', 'mmcv.ops', 'sklearn', 'mmblocks.swap', 'mmblocks.digits')\n"
        'assert not [name for name in needed if name in sys.modules]\n'
    )
    result = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith('usage: mmblocks ')
    assert re.findall(r'^    (\w+)(?=\s)', result.stdout, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize('name', COMMANDS)
def test_a_command_and_its_script_have_the_same_help(name, run_mmblocks, run_script):
    code, shown, err = run_mmblocks(name, '--help')
    assert (code, err) == (0, '')
    assert shown.startswith(f'usage: mmblocks {name} ')
    # The usage is broken into lines by the length of the name.
    script = f'usage: {SCRIPTS.get(name, name)}.py '
    of_script = run_script(name, '--help')[1]
    assert shown.split() == of_script.replace(script, f'usage: mmblocks {name} ').split()


def test_a_command_gives_what_its_script_gives(run_mmblocks, run_script):
    given = ('describe', '--show', 'MobileNetV2', '--image-size', '64')
    code, shown, _ = run_mmblocks(*given)
    assert code == 0
    assert shown.startswith('MobileNetV2\n')
    assert shown == run_script(*given)[1]


def test_an_unknown_command_is_refused_in_one_line(run_mmblocks):
    code, out, err = run_mmblocks('trian', 'config.py')
    assert (code, out) == (2, '')
    assert err.startswith(f'error: no command trian; there are {", ".join(COMMANDS)}')
    assert err.endswith('; did you mean train?\n')
    assert err.count('\n') == 1


def test_the_error_of_a_command_is_one_line(run_command):
    code, out, err = run_command(main, 'mmblocks', 'train', 'nowhere/absent.py')
    assert (code, out) == (2, '')
    assert err.startswith('error: config not found: nowhere/absent.py')
    assert err.count('\n') == 1
