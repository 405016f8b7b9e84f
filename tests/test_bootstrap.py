"""The set-up, run as a user runs it, in a copy of the checkout.

The goal 'lint' is the smallest: it makes the environment and installs one distribution. Here that
is a small wheel from a folder, so that no test needs the network.
"""

import ast
import fcntl
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = os.path.realpath(sys._base_executable)
UTILITIES = ('sh', 'dirname', 'cat')


def copy_checkout(folder):
    """Copies what the set-up needs, with ruff pinned to the small wheel's version."""
    shutil.copytree(ROOT / 'requirements', folder / 'requirements')
    shutil.copytree(
        ROOT / 'tools' / 'bootstrap',
        folder / 'tools' / 'bootstrap',
        ignore=shutil.ignore_patterns('__pycache__'),
    )
    (folder / 'mmblocks').mkdir()
    for name in ('setup.py', 'pyproject.toml', 'mmblocks/version.py'):
        shutil.copy(ROOT / name, folder / name)
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
        if os.path.isabs(program):
            (folder / name).symlink_to(program)
        else:
            (folder / name).write_text(f'#!/bin/sh\n{program}\n')
            (folder / name).chmod(0o755)
    return folder


def set_up(checkout, goal, **env):
    return subprocess.run(command(checkout, goal), env=env, capture_output=True, text=True)


def command(checkout, goal):
    return ['/bin/sh', str(checkout / 'tools' / 'bootstrap' / 'run.sh'), goal]


@pytest.fixture(scope='module')
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheels')
    for version in ('0.0.1', '0.0.2'):
        add_wheel(folder, version)
    return folder


@pytest.fixture(scope='module')
def offline(wheels):
    """Variables with which the set-up takes its packages from the folder of wheels alone."""
    return dict(
        PATH=os.environ['PATH'],
        HOME=str(wheels),
        PYTHON=PYTHON,
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_INDEX='1',
        PIP_FIND_LINKS=wheels.as_uri(),
    )


@pytest.fixture(scope='module')
def first_set_up(tmp_path_factory, offline):
    """A copy of the checkout after 'lint', and the run.

    The folder's name has a space, and an environment of the user's own was in the way.
    """
    folder = copy_checkout(tmp_path_factory.mktemp('set up'))
    (folder / '.venv').mkdir()
    (folder / '.venv' / 'mine').touch()
    result = set_up(folder, 'lint', **offline)
    assert result.returncode == 0, result.stderr
    return folder, result


@pytest.fixture
def checkout(first_set_up):
    """A copy of the checkout, set up for 'lint'."""
    return first_set_up[0]


@pytest.fixture
def bare(tmp_path):
    """A copy of the checkout with nothing set up."""
    return copy_checkout(tmp_path / 'checkout')


class TestPython:
    def test_one_that_is_too_old_is_told_which_are_needed(self, bare, tmp_path):
        old = (
            'import runpy, sys; sys.version_info = (3, 6, 15); '
            'runpy.run_path(sys.argv[1], None, "__main__")'
        )
        script = f'[ "$1" = -c ] || set -- -c "$OLD" "$@"\nexec {PYTHON} "$@"'
        path = put_on_path(tmp_path / 'bin', old=script)
        result = set_up(bare, 'lint', PATH=str(path), PYTHON='old', OLD=old)
        assert result.returncode == 1
        assert 'this is Python 3.6; mmblocks needs Python 3.10 to 3.12' in result.stderr
        assert not (bare / '.venv').exists()

    def test_the_entry_can_be_read_by_an_old_one(self):
        source = (ROOT / 'tools' / 'bootstrap' / '__main__.py').read_text()
        ast.parse(source, feature_version=(3, 4))

    def test_none_on_path_says_how_to_get_one(self, bare, tmp_path):
        dead = 'echo command not found >&2; exit 127'
        path = put_on_path(tmp_path / 'bin', **{'python3.11': dead, 'python3': dead})
        result = set_up(bare, 'demo', PATH=str(path))
        assert result.returncode == 1
        assert 'no Python 3.10, 3.11 or 3.12 on PATH' in result.stderr
        assert 'apt install python3.11' in result.stderr

    def test_a_shim_with_nothing_behind_it_is_passed_over(self, bare, tmp_path):
        path = put_on_path(tmp_path / 'bin', **{'python3.11': 'exit 127', 'python3': PYTHON})
        result = set_up(bare, 'no such goal', PATH=str(path))
        assert 'usage: python tools/bootstrap {lint,demo,test}' in result.stdout

    def test_one_that_is_named_and_does_not_run_is_an_error(self, bare):
        result = set_up(bare, 'lint', PATH=os.environ['PATH'], PYTHON='/nowhere/python')
        assert result.returncode == 1
        assert 'PYTHON=/nowhere/python does not run' in result.stderr


class TestCompiler:
    @pytest.fixture
    def env(self, tmp_path):
        path = put_on_path(tmp_path / 'bin', **{'python3': PYTHON})
        return dict(PATH=str(path), XDG_CACHE_HOME=str(tmp_path / 'cache'))

    def cache_wheel(self, tmp_path, torch):
        version = platform.python_version_tuple()
        tag = f'cp{version[0]}{version[1]}-{sysconfig.get_platform()}'
        folder = tmp_path / 'cache/mmblocks/wheels' / f'mmcv-2.1.0-torch-{torch}-{tag}-cpu'
        folder.mkdir(parents=True)
        (folder / 'mmcv-2.1.0.whl').touch()

    def test_a_missing_one_is_named_before_anything_is_made(self, bare, env):
        result = set_up(bare, 'demo', **env)
        assert result.returncode == 1
        assert "no C++ compiler: that is 'g++', which is not there" in result.stderr
        assert 'apt install g++' in result.stderr
        assert not (bare / '.venv').exists()

    def test_cxx_is_respected(self, bare, env):
        result = set_up(bare, 'demo', CXX='/nowhere/clang++ -O1', **env)
        assert result.returncode == 1
        assert "CXX names '/nowhere/clang++ -O1', which is not there" in result.stderr

    def test_one_that_does_not_compile_is_told_so(self, bare, env):
        result = set_up(bare, 'demo', CXX=shutil.which('false'), **env)
        assert result.returncode == 1
        assert 'does not compile a small C++17 program' in result.stderr

    def test_another_torchs_wheel_does_not_make_up_for_it(self, bare, env, tmp_path):
        self.cache_wheel(tmp_path, '2.12.0+cpu')
        assert 'no C++ compiler' in set_up(bare, 'demo', **env).stderr

    def test_a_wheel_built_before_makes_up_for_it(self, bare, env, tmp_path):
        self.cache_wheel(tmp_path, '2.13.0+cpu')
        result = set_up(bare, 'demo', PIP_NO_INDEX='1', PIP_CONFIG_FILE=os.devnull, **env)
        assert 'compiler' not in result.stderr
        assert 'pip could not install build.txt' in result.stderr


class TestSteps:
    def test_a_whole_set_up_is_left_as_it_is(self, checkout, offline):
        result = set_up(checkout, 'lint', **offline)
        assert (result.returncode, result.stdout, result.stderr) == (0, '', '')

    def test_a_changed_pin_redoes_its_step_alone(self, checkout, offline):
        pin_ruff(checkout, '0.0.2')
        result = set_up(checkout, 'lint', **offline)
        assert 'install ruff' in result.stdout
        assert 'make the environment' not in result.stdout
        assert list(checkout.glob('.venv/lib/*/site-packages/ruff-0.0.2.dist-info'))

    def test_what_was_removed_is_put_back(self, checkout, offline):
        python = checkout / '.venv/bin/python'
        subprocess.run([python, '-m', 'pip', 'uninstall', '-qy', 'ruff'], check=True)
        assert 'install ruff' in set_up(checkout, 'lint', **offline).stdout
        assert subprocess.run([python, '-c', 'import ruff']).returncode == 0

    def test_a_half_made_environment_is_made_anew(self, checkout, offline):
        (checkout / '.venv/mmblocks/venv.json').unlink()
        shutil.rmtree(next(checkout.glob('.venv/lib/*/site-packages/pip')))
        result = set_up(checkout, 'lint', **offline)
        assert result.returncode == 0
        assert 'make the environment' in result.stdout
        assert 'install ruff' in result.stdout

    def test_an_environment_whose_python_has_gone_is_made_anew(self, checkout, offline):
        python = checkout / '.venv/bin/python'
        python.unlink()
        python.symlink_to('/nowhere/python')
        assert 'make the environment' in set_up(checkout, 'lint', **offline).stdout
        assert subprocess.run([python, '-c', 'import ruff']).returncode == 0

    def test_an_environment_of_the_users_own_is_moved_aside(self, first_set_up):
        checkout, result = first_set_up
        assert 'it is now .venv.old' in result.stdout
        assert (checkout / '.venv.old' / 'mine').exists()

    def test_a_second_set_up_waits_for_the_first(self, checkout, offline):
        with open(checkout / '.setup.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            second = subprocess.Popen(
                command(checkout, 'lint'), env=offline, stdout=subprocess.PIPE, text=True
            )
            assert 'waiting for it to end' in second.stdout.readline()
            assert second.poll() is None
        assert second.wait(timeout=30) == 0
        second.stdout.close()


class TestNetwork:
    @pytest.fixture
    def env(self, offline):
        network = {key: value for key, value in offline.items() if not key.startswith('PIP_NO_')}
        return {**network, 'PIP_RETRIES': '1'}

    @pytest.fixture
    def checkout_without_ruff(self, checkout):
        for path in checkout.glob('.venv/lib/*/site-packages/ruff-*'):
            shutil.rmtree(path)
        pin_ruff(checkout, '0.0.1')
        return checkout

    def test_an_index_out_of_reach_is_named_and_the_next_run_goes_on(
        self, checkout_without_ruff, env, offline
    ):
        env.update(PIP_INDEX_URL='http://127.0.0.1:9/simple', PIP_FIND_LINKS='')
        result = set_up(checkout_without_ruff, 'lint', **env)
        assert result.returncode == 1
        assert 'pip could not install ruff: could not reach the package index\n' in result.stderr
        assert 'https_proxy' in result.stderr
        assert 'ERROR: ' in result.stderr, "pip's own last lines belong to the message"

        again = set_up(checkout_without_ruff, 'lint', **offline)
        assert again.returncode == 0
        assert 'make the environment' not in again.stdout

    def test_a_stopped_set_up_takes_pip_with_it_and_is_taken_up_again(
        self, checkout_without_ruff, env, offline
    ):
        with socket.create_server(('127.0.0.1', 0)) as silent:
            port = silent.getsockname()[1]
            env.update(PIP_INDEX_URL=f'http://127.0.0.1:{port}/simple', PIP_FIND_LINKS='')
            process = subprocess.Popen(
                command(checkout_without_ruff, 'lint'),
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            connection, _ = silent.accept()  # pip waits for an answer
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=30)
            assert process.returncode == 130
            assert 'interrupted' in stderr
            connection.settimeout(30)
            while connection.recv(4096):  # ends when pip has closed its side
                pass
            connection.close()
        assert set_up(checkout_without_ruff, 'lint', **offline).returncode == 0


class TestGpu:
    """What the set-up decides from what torch and nvcc say; no GPU is needed to decide."""

    @pytest.fixture
    def decide(self, monkeypatch):
        monkeypatch.syspath_prepend(ROOT / 'tools' / 'bootstrap')
        import ops

        def decide(gpu=True, cuda='13.0', nvcc='13.0', driver=True):
            facts = dict(torch='2.13.0', gpu=gpu, cuda=cuda, capability='sm90')
            return ops.decide(facts, nvcc, driver)

        yield decide
        for name in ('ops', 'environment', 'stamps', 'checks', 'console'):
            del sys.modules[name]

    def test_with_nvcc_the_ops_are_for_the_gpu_and_its_cuda(self, decide):
        target, reason = decide()
        assert (target.device, target.variant) == ('cuda', 'cuda13.0-sm90')
        assert 'FORCE_CUDA=1' in reason

    @pytest.mark.parametrize('nvcc', [None, '12.8'])
    def test_without_a_fitting_nvcc_the_cpu_is_used_and_what_to_install_is_said(self, decide, nvcc):
        target, reason = decide(nvcc=nvcc)
        assert target.device == 'cpu'
        assert 'install the CUDA toolkit 13.0' in reason

    def test_a_torch_without_cuda_beside_a_gpu_is_said(self, decide):
        target, reason = decide(gpu=False, cuda=None)
        assert target.device == 'cpu'
        assert 'is built without CUDA' in reason

    def test_nvcc_without_a_gpu_is_nothing_to_speak_of(self, decide):
        target, reason = decide(gpu=False, cuda=None, driver=False)
        assert (target.device, reason) == ('cpu', '')
