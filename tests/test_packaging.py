"""The package as it reaches its users: a wheel, an sdist, a checkout."""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
DEMO = 'digits/retinanet_ghostnet_fpn_digits.py'
SOURCES = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md', 'CHANGELOG.md')
FOLDERS = ('mmblocks', 'configs', 'tools')

FIND_CONFIG = f"""
import sys, mmblocks, mmengine.hub
from mmengine.config import Config
print(mmblocks.__file__)
cfg = mmengine.hub.get_config('mmblocks::{DEMO}')
assert cfg.model.backbone.type == 'mmblocks.GhostNet', cfg.model.backbone
print(cfg.filename)
heir = Config.fromfile(sys.argv[1])
assert heir.model.backbone.type == 'mmblocks.GhostNet' and heir.model.backbone.frozen_stages == 2
"""
HEIR = f"""
_base_ = 'mmblocks::{DEMO}'
model = dict(backbone=dict(frozen_stages=2))
"""


def python(*args, cwd, **env):
    env = {**os.environ, 'PYTHONPATH': '', 'PIP_NO_INDEX': '1', **env}
    result = subprocess.run(
        [sys.executable, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build_wheel(source, folder):
    options = ('--no-deps', '--no-build-isolation', '--wheel-dir', folder)
    python('-m', 'pip', 'wheel', *options, source, cwd=folder)
    return next(Path(folder).glob('mmblocks-*.whl'))


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """A copy of the checkout's sources, so that a build leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp('sources')
    for name in SOURCES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        unwanted = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=unwanted)
    return folder


@pytest.fixture(scope='module')
def wheel(sources, tmp_path_factory):
    return build_wheel(sources, tmp_path_factory.mktemp('wheel'))


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """A folder of its own with the wheel in it."""
    folder = tmp_path_factory.mktemp('installed')
    python('-m', 'pip', 'install', '--no-deps', '--target', folder, wheel, cwd=folder)
    return folder


@pytest.fixture(scope='module')
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture
def heir(tmp_path):
    """A config somewhere else that inherits from one of the package."""
    path = tmp_path / 'heir.py'
    path.write_text(HEIR)
    return path


def test_wheel_holds_every_config_and_tool(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = [*(ROOT / 'configs').rglob('*.py'), *(ROOT / 'tools').glob('*.py')]
    assert len(files) > 2
    missing = {f'mmblocks/.mim/{file.relative_to(ROOT).as_posix()}' for file in files} - names
    assert not missing
    assert 'mmblocks/.mim/model-index.yml' in names
    assert {name.split('/')[0] for name in names if '.dist-info' not in name} == {'mmblocks'}


def test_installed_wheel_is_found_by_mmengine(installed, heir):
    output = python('-c', FIND_CONFIG, heir, cwd=heir.parent, PYTHONPATH=str(installed))
    package, config = output.splitlines()[-2:]
    assert Path(package).parent == installed / 'mmblocks'
    assert Path(config) == installed / 'mmblocks' / '.mim' / 'configs' / DEMO


def test_installed_wheel_brings_the_command(installed):
    command = installed / 'bin' / 'mmblocks'
    output = python(command, '--help', cwd=installed, PYTHONPATH=str(installed))
    assert output.startswith('usage: mmblocks ')


@pytest.fixture(scope='module')
def environment(wheel, tmp_path_factory):
    """The programs of an environment with the wheel alone in it.

    All else comes from the running one, so that nothing is downloaded: whether an index has what
    the extra asks for, and which versions pip would choose there, is not seen here.
    """
    folder = tmp_path_factory.mktemp('environment')
    python('-m', 'venv', '--without-pip', folder, cwd=folder)
    site_packages = next(folder.glob('lib/*/site-packages'))
    (site_packages / 'running.pth').write_text(sysconfig.get_path('purelib'))
    options = ('--python', folder / 'bin' / 'python', 'install', '--no-deps')
    python('-m', 'pip', *options, wheel, cwd=folder)
    return folder / 'bin'


@pytest.mark.slow
def test_an_environment_with_the_extra_lite_trains_the_digits(environment, metadata, tmp_path):
    wanted = [Requirement(text) for text in metadata.get_all('Requires-Dist')]
    wanted = [each for each in wanted if not each.marker or each.marker.evaluate({'extra': 'lite'})]
    assert {'torch', 'mmcv-lite', 'mmdet'} <= {each.name for each in wanted}
    assert [str(each) for each in wanted if version(each.name) not in each.specifier] == []

    def mmblocks(*args):
        command = [environment / 'mmblocks', *args]
        env = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    mmblocks('make_digits', '--train-scenes', '4', '--val-scenes', '2')
    options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'model.test_cfg.score_thr=0']
    options += ['model.test_cfg.nms_pre=50']
    printed = mmblocks(
        'train', f'mmblocks::{DEMO}', '--work-dir', 'work', '--cfg-options', *options
    )
    assert "mmcv.ops runs on mmblocks' PyTorch forms of its ops" in printed
    assert 'coco/bbox_mAP_50' in printed
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()


def test_checkout_is_found_by_mmengine(heir):
    output = python('-c', FIND_CONFIG, heir, cwd=heir.parent, PYTHONPATH=str(ROOT))
    package, config = output.splitlines()[-2:]
    assert Path(package).parent == ROOT / 'mmblocks'
    assert Path(config).resolve() == ROOT / 'configs' / DEMO


def test_sdist_builds_the_same_wheel(sources, wheel, tmp_path):
    build = 'import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])'
    python('-c', build, tmp_path, cwd=sources)
    from_sdist = build_wheel(next(tmp_path.glob('mmblocks-*.tar.gz')), tmp_path)
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(from_sdist) as theirs:
        assert sorted(ours.namelist()) == sorted(theirs.namelist())


def test_sources_without_symbolic_links_are_refused(sources, tmp_path):
    copy = tmp_path / 'sources'
    shutil.copytree(sources, copy, symlinks=True)
    link = copy / 'mmblocks' / '.mim' / 'configs'
    link.unlink()
    link.write_text('../../configs')  # what git leaves where links are off
    result = subprocess.run(
        [sys.executable, 'setup.py', '--version'], cwd=copy, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert 'core.symlinks' in result.stderr


def test_version_is_the_packages(metadata):
    import mmblocks

    assert metadata['Version'] == mmblocks.__version__
