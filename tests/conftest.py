"""What all tests share: the folder of peers, a fixed seed, and what keeps MMEngine quick."""

import functools
import gc
import importlib
import importlib.util
import logging
import os
import sys
from functools import partial
from pathlib import Path

import mmengine.config.config
import mmengine.config.utils
import mmengine.runner.runner
import pytest
import torch
from mmengine.logging import MMLogger

from tests.mmcv_ops import running_on

# The nets under test are tiny: more threads would only wait for each other. The variable is for
# the processes that tests start.
torch.set_num_threads(1)
os.environ.setdefault('OMP_NUM_THREADS', '1')

# Otherwise it writes a record for each module that it builds, which nobody reads.
MMLogger.get_current_instance().setLevel(logging.INFO)

PEERS = Path(os.environ.get('MMBLOCKS_PEERS', Path(__file__).parents[1] / '.peers'))


def pytest_collection_modifyitems(items):
    """Puts the long tests first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: 'slow' not in item.keywords)


def pytest_collection_finish():
    """Leaves what has been imported and collected out of the garbage collections to come.

    MMEngine asks for one with every dataset, and all these objects would be searched each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session', autouse=True)
def _quick_runner():
    """Leaves out what takes most of the time of a small training.

    MMEngine formats the config with yapf for its log, a file and every checkpoint, asks the
    compilers for their versions anew for every runner, and reads mmdet's hundred metafiles anew
    for every config that inherits from one of mmdet.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.config, 'FormatCode', lambda text, **_: (text, False))
        collect_env = functools.cache(mmengine.runner.runner.collect_env)
        patch.setattr(mmengine.runner.runner, 'collect_env', collect_env)
        patch.setattr(mmengine.config.utils, 'load', functools.cache(mmengine.config.utils.load))
        yield


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture
def log(caplog):
    """What mmengine's logger says; it does not hand it on by itself."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Runs the main function of a tool in this process; gives its exit code and what it printed."""

    def run(main, name, *args):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        try:
            main()
            code = 0
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope='session')
def peer():
    """Imports a peer library (torchvision, timm, mmpretrain) from the folder of peers.

    They stand apart from the environment that trains: there is no CPU build of torchvision, so
    the schemas of its operators are declared before it is imported.
    """
    if not (PEERS / 'torchvision').is_dir():
        pytest.fail(f'the peers are not in {PEERS}: `make test` brings them')
    sys.path.append(str(PEERS))
    fragment = torch.library.Library('torchvision', 'FRAGMENT')
    fragment.define('nms(Tensor x) -> Tensor')
    fragment.define('qnms(Tensor x) -> Tensor')
    yield importlib.import_module
    sys.path.remove(str(PEERS))


@pytest.fixture(scope='session')
def compiled():
    """``with compiled() as ops`` has mmcv.ops run on its compiled ops, from the folder of peers."""
    path = PEERS / 'compiled' / '_ext.so'
    if not path.is_file():
        pytest.skip(f"mmcv's compiled ops are not in {path.parent}: `make peers` brings them")
    spec = importlib.util.spec_from_file_location('compiled._ext', path)
    ext = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ext)
    return partial(running_on, ext)


@pytest.fixture
def on_compiled(compiled):
    """mmcv.ops on its compiled ops, for the whole test."""
    with compiled() as ops:
        yield ops


@pytest.fixture(scope='session')
def mmdet_models():
    """mmdet's registry of models, with everything of mmdet registered."""
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    return MODELS
