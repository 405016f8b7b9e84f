"""The set-up, run as a user runs it, in a copy of the checkout.

The goal 'lint' is the smallest: it makes the environment and installs one distribution. Here that
is a small wheel from a folder, so that no test needs the network.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PYTHON = os.path.realpath(sys._base_executable)
UTILITIES = ('sh', 'dirname')


def copy_checkout(folder):
    """Copies what the set-up needs, with ruff pinned to the small wheel's version."""
    shutil.copytree(ROOT / 'requirements', folder / 'requirements')
    shutil.copytree(ROOT / 'tools' / 'bootstrap', folder / 'tools' / 'bootstrap')
    pin_ruff(folder, '0.0.1')
    return folder


def pin_ruff(checkout, version):
    (checkout / 'requirements' / 'tests.txt').write_text(f'ruff=={version}\n')


def add_wheel(folder, version):
    """Writes a distribution named ruff that holds one empty module."""
    info = f'ruff-{version}.dist-info'
    files = {
        'ruff.py': '',
        f'{info}/METADATA': f'Metadata-Version: 2.1\nName: ruff\nVersion: {version}\n',
        f'{info}/WHEEL': 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
        f'{info}/RECORD': '',
    }
    with zipfile.ZipFile(folder / f'ruff-{version}-py3-none-any.whl', 'w') as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


def put_on_path(folder, **programs):
    """Fills a folder that is the whole PATH: links to programs, and scripts given as text."""
    folder.mkdir(exist_ok=True)
    for name in UTILITIES:
        (folder / name).symlink_to(shutil.which(name))
    for name, program in programs.items():
        write_script(folder / name, program)
    return str(folder)


def write_script(path, text):
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)


def command(checkout, goal):
    return ['/bin/sh', str(checkout / 'tools' / 'bootstrap' / 'run.sh'), goal]


def set_up(checkout, goal, **env):
    return subprocess.run(command(checkout, goal), env=env, capture_output=True, text=True)


@pytest.fixture(scope='module')
def offline(tmp_path_factory):
    """Variables with which the set-up takes its packages from a folder of wheels alone."""
    wheels = tmp_path_factory.mktemp('wheels')
    for version in ('0.0.1', '0.0.2'):
        add_wheel(wheels, version)
    return dict(
        PATH=put_on_path(wheels / 'bin'),
        HOME=str(wheels),
        PYTHON=PYTHON,
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_INDEX='1',
        PIP_FIND_LINKS=wheels.as_uri(),
        PIP_TARGET='/nowhere',
    )


@pytest.fixture(scope='module')
def checkout(tmp_path_factory, offline):
    """A copy of the checkout, set up for 'lint'; its folder's name has a space."""
    folder = copy_checkout(tmp_path_factory.mktemp('set up'))
    result = set_up(folder, 'lint', **offline)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def bare(tmp_path):
    """A copy of the checkout with nothing set up."""
    return copy_checkout(tmp_path / 'checkout')


class TestPython:
    @pytest.mark.parametrize('named', [False, True])
    def test_none_that_is_fit_says_what_was_tried_and_how_to_get_one(self, bare, tmp_path, named):
        dead = 'echo command not found >&2; exit 127'
        path = put_on_path(tmp_path / 'bin', **{'python3.11': dead, 'python3': 'echo 3.6'})
        result = set_up(bare, 'demo', PATH=path, **(dict(PYTHON='python3') if named else {}))
        assert result.returncode == 1
        tried = [] if named else ['.venv/bin/python', 'python3.11', 'python3.12', 'python3.10']
        tried = [f'{name} is none' for name in tried] + ['python3 is 3.6']
        expected = f'mmblocks needs Python 3.10, 3.11 or 3.12 ({", ".join(tried)})'
        assert expected in result.stderr
        assert 'apt install python3.11' in result.stderr
        assert not (bare / '.venv').exists()

    def test_a_shim_with_nothing_behind_it_is_passed_over(self, checkout, tmp_path):
        found = f'exec "{PYTHON}" "$@"'
        path = put_on_path(tmp_path / 'bin', **{'python3.11': 'exit 127', 'python3.12': found})
        shutil.copytree(checkout / 'tools', tmp_path / 'tools')
        (tmp_path / '.venv').mkdir()  # of the user's own, which ends it
        result = set_up(tmp_path, 'lint', PATH=path)
        assert 'was made by something else' in result.stderr

    def test_one_that_is_named_and_does_not_run_is_an_error(self, bare, offline):
        result = set_up(bare, 'lint', **{**offline, 'PYTHON': '/nowhere/python'})
        assert result.returncode == 1
        assert '(/nowhere/python is none)' in result.stderr


class TestSteps:
    def test_a_whole_set_up_is_left_as_it_is(self, checkout, offline):
        result = set_up(checkout, 'lint', **offline)
        assert (result.returncode, result.stdout, result.stderr) == (0, '', '')

    def test_the_python_that_made_it_is_kept(self, checkout, offline):
        result = set_up(checkout, 'lint', **{**offline, 'PYTHON': ''})
        assert (result.returncode, result.stdout, result.stderr) == (0, '', '')

    def test_a_changed_pin_redoes_its_step_alone(self, checkout, offline):
        pin_ruff(checkout, '0.0.2')
        result = set_up(checkout, 'lint', **offline)
        assert result.stdout == 'set-up: installing ruff\n'
        assert list(checkout.glob('.venv/lib/*/site-packages/ruff-0.0.2.dist-info'))

    @pytest.mark.parametrize('gone', ['mmblocks/venv', 'bin/python'])
    def test_a_half_made_environment_is_made_anew(self, checkout, offline, gone):
        (checkout / '.venv' / gone).unlink()
        result = set_up(checkout, 'lint', **offline)
        assert result.returncode == 0
        assert 'installing an environment' in result.stdout
        assert 'installing ruff' in result.stdout
        python = checkout / '.venv/bin/python'
        assert subprocess.run([python, '-c', 'import ruff']).returncode == 0

    def test_an_environment_of_the_users_own_is_not_touched(self, bare, offline):
        (bare / '.venv').mkdir()
        result = set_up(bare, 'lint', **offline)
        assert result.returncode == 1
        assert '.venv was made by something else: move it away' in result.stderr
        assert not list((bare / '.venv').iterdir())

    def test_a_second_set_up_waits_for_the_first(self, checkout, offline):
        with open(checkout / '.setup.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            second = subprocess.Popen(
                command(checkout, 'lint'), env=offline, stdout=subprocess.PIPE, text=True
            )
            assert 'waiting for its end' in second.stdout.readline()
            assert second.poll() is None
        assert second.wait(timeout=30) == 0
        second.stdout.close()


class TestFailures:
    @pytest.fixture
    def unset(self, checkout):
        """The copy of the checkout, where ruff is to be installed again."""
        for path in checkout.glob('.venv/lib/*/site-packages/ruff-*'):
            shutil.rmtree(path)
        (checkout / '.venv/mmblocks/ruff').unlink(missing_ok=True)
        return checkout

    @pytest.fixture
    def env(self, offline):
        network = {key: value for key, value in offline.items() if not key.startswith('PIP_NO_')}
        return {**network, 'PIP_RETRIES': '1', 'PIP_FIND_LINKS': ''}

    def test_an_index_out_of_reach_is_named_and_the_next_run_goes_on(self, unset, env, offline):
        pin_ruff(unset, '0.0.1')
        result = set_up(unset, 'lint', **env, PIP_INDEX_URL='http://127.0.0.1:9/simple')
        assert result.returncode == 1
        assert 'the package index is out of reach' in result.stderr
        assert 'https_proxy' in result.stderr
        assert 'ERROR: ' in result.stderr, "pip's own last lines belong to the message"
        again = set_up(unset, 'lint', **offline)
        assert (again.returncode, again.stdout) == (0, 'set-up: installing ruff\n')

    def test_an_index_without_the_version_is_named(self, unset, offline):
        pin_ruff(unset, '0.0.3')
        result = set_up(unset, 'lint', **offline)
        pin_ruff(unset, '0.0.2')
        assert result.returncode == 1
        assert 'No matching distribution found for ruff==0.0.3' in result.stderr
        assert 'the package index lacks this version' in result.stderr

    def test_a_full_disk_is_named(self, unset, offline):
        python = unset / '.venv/bin/python'
        python.rename(python.with_name('kept'))
        write_script(python, 'echo "OSError: [Errno 28] No space left on device"; exit 1')
        result = set_up(unset, 'lint', **offline)
        python.with_name('kept').replace(python)
        assert 'set-up: the disk is full; make room' in result.stderr

    def test_a_stopped_set_up_takes_pip_with_it_and_is_taken_up_again(self, unset, env, offline):
        with socket.create_server(('127.0.0.1', 0)) as silent:
            env['PIP_INDEX_URL'] = f'http://127.0.0.1:{silent.getsockname()[1]}/simple'
            process = subprocess.Popen(
                command(unset, 'lint'), env=env, stderr=subprocess.PIPE, text=True
            )
            silent.settimeout(60)
            connection, _ = silent.accept()  # pip waits for an answer
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=30)
            assert process.returncode == 130
            assert 'interrupted' in stderr
            connection.settimeout(30)
            while connection.recv(4096):  # ends when pip has closed its side
                pass
            connection.close()
        assert set_up(unset, 'lint', **offline).returncode == 0


class TestCompiledOps:
    def take(self, checkout, tmp_path):
        script = checkout / 'tools' / 'bootstrap' / 'compiled_ops.py'
        env = dict(PATH=put_on_path(tmp_path / 'bin'), XDG_CACHE_HOME=str(tmp_path / 'cache'))
        return subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)

    @pytest.mark.parametrize('version', [torch.__version__, '2.12.0+cpu'])
    def test_they_come_from_a_wheel_that_was_built_for_this_torch(self, bare, tmp_path, version):
        python = f'cp{sys.version_info[0]}{sys.version_info[1]}-{sysconfig.get_platform()}'
        folder = tmp_path / f'cache/mmblocks/wheels/mmcv-2.1.0-torch-{version}-{python}-cpu'
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / 'mmcv-2.1.0.whl', 'w') as wheel:
            wheel.writestr('mmcv/_ext.cpython-311-x86_64-linux-gnu.so', 'the ops')
        result = self.take(bare, tmp_path)
        target = bare / '.peers' / 'compiled' / '_ext.so'
        if version == torch.__version__:
            assert result.returncode == 0, result.stderr
            assert target.read_text() == 'the ops'
        else:  # and nothing can be built without a compiler
            assert result.returncode == 1
            assert (
                "mmcv's ops need g++; on Debian and Ubuntu: sudo apt install g++" in result.stderr
            )
            assert not target.exists()
