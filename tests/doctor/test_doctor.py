"""``mmblocks doctor``: what is installed, and what is wrong with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmblocks.doctor import diagnose
from mmblocks.doctor.problems import find_problems
from tests.engine.tiny_run import environment

ROOT = Path(__file__).parents[2]


def write_module(folder, name, code):
    (folder / name).mkdir(parents=True)
    (folder / name / '__init__.py').write_text(code)


def write_distribution(folder, name, version, requires=()):
    """Writes what the metadata of an installed distribution is read from."""
    info = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir(parents=True)
    lines = [f'Name: {name}', f'Version: {version}', *(f'Requires-Dist: {r}' for r in requires)]
    (info / 'METADATA').write_text('\n'.join(['Metadata-Version: 2.1', *lines]) + '\n')


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that packages are found in before all others."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_this_environment_is_described_and_nothing_is_wrong_with_it(run_command):
    from mmblocks.cli.doctor import main

    code, out, _ = run_command(main, 'doctor')
    assert code == 0, out
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith('not'))
    assert rows['python'].startswith(f'{sys.version_info.major}.{sys.version_info.minor}.')
    assert rows['mmdet'].startswith('mmdet ')
    assert rows['ops'].startswith("mmblocks' PyTorch forms")
    assert rows['devices'].startswith('CPU (')
    assert rows['problems'] == 'none found'
    assert len(out.splitlines()) <= 24  # one screen


def test_it_runs_where_mmblocks_cannot_be_imported(tmp_path):
    absent = "raise ModuleNotFoundError(\"No module named 'mmcv'\", name='mmcv')"
    write_module(tmp_path, 'mmcv', absent)
    write_module(tmp_path, 'cv2', "raise ImportError('libGL.so.1: cannot open shared object')")
    done = subprocess.run(
        [sys.executable, '-m', 'mmblocks', 'doctor'],
        cwd=tmp_path,
        env=environment(tmp_path) | dict(PYTHONPATH=f'{tmp_path}:{ROOT}'),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == ''
    said = done.stdout
    assert 'import cv2: ImportError: libGL.so.1: cannot open shared object' in said
    assert 'pip install --force-reinstall opencv-python-headless' in said
    assert 'mmcv is not there' in said
    assert "pip install 'mmblocks[lite]'" in said


def test_a_library_that_ends_the_process_is_named(site, monkeypatch):
    write_module(site, 'numpy', 'import os\nos.abort()')
    monkeypatch.setenv('PYTHONPATH', str(site))
    diagnosis = diagnose()
    assert any('import numpy: ended the process' in p.text for p in diagnosis.problems)
    assert 'unknown without torch' in diagnosis.text  # it came no further


def test_two_distributions_of_one_library_are_named(site):
    write_distribution(site, 'mmcv', '2.1.0')
    write_distribution(site, 'mmcv-lite', '2.1.0')
    (problem,) = find_problems({})
    assert problem.text == 'mmcv 2.1.0 and mmcv-lite 2.1.0 overwrite each other (mmcv)'
    assert problem.remedy == 'pip uninstall mmcv mmcv-lite, then install one of them'


def test_a_torchvision_for_another_torch_is_named(site):
    write_distribution(site, 'torchvision', '0.20.0', requires=['numpy', 'torch==2.5.0'])
    (problem,) = find_problems({})
    assert problem.text.startswith('torchvision 0.20.0 is made for torch 2.5.0, and torch 2.')
    assert 'pip uninstall torchvision' in problem.remedy


def test_the_torchvision_for_this_torch_is_not(site):
    write_distribution(site, 'torch', '2.5.0+cu124')
    write_distribution(site, 'torchvision', '0.20.0', requires=['torch==2.5.0'])
    assert find_problems({}) == []


def test_a_setuptools_without_pkg_resources_is_named(site):
    write_distribution(site, 'setuptools', '82.0.0')
    (problem,) = find_problems({})
    assert problem.text.startswith('setuptools 82.0.0: MMEngine needs its pkg_resources')
    assert problem.remedy == "pip install 'setuptools<81'"


@pytest.mark.parametrize(
    ('result', 'text', 'remedy'),
    [
        (dict(error='', missing=True), 'mmdet is not there', "pip install 'mmblocks[lite]'"),
        (
            dict(error='ValueError: numpy.dtype size changed, may indicate'),
            'import mmdet: ValueError: numpy.dtype size changed',
            'compiled for another NumPy',
        ),
        (
            dict(error='RuntimeError: operator torchvision::nms does not exist'),
            'import mmdet: RuntimeError: operator torchvision::nms',
            'torchvision does not fit torch',
        ),
        (
            dict(said='A module that was compiled using NumPy 1.x cannot be run in NumPy 2'),
            'mmdet or what it imports was compiled for NumPy 1',
            'numpy<2',
        ),
    ],
    ids=['missing', 'numpy', 'torchvision', 'numpy 1'],
)
def test_what_an_import_shows_has_a_remedy(result, text, remedy):
    (problem,) = find_problems(dict(mmdet=result))
    assert problem.text.startswith(text)
    assert remedy in problem.remedy


def test_an_unknown_choice_of_ops_is_named(monkeypatch):
    monkeypatch.setenv('MMBLOCKS_OPS', 'cuda')
    (problem,) = find_problems({})
    assert problem.text == 'MMBLOCKS_OPS=cuda'
