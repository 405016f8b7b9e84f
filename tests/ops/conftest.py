"""mmcv.ops on its compiled ops, and on the PyTorch forms."""

import importlib
import sys
from types import ModuleType

import pytest

from mmblocks.ops.finder import ExtLoader


@pytest.fixture(scope='session')
def compiled():
    """mmcv.ops on its compiled ops."""
    ext = importlib.import_module('mmcv._ext')
    if not str(getattr(ext, '__file__', '')).endswith('.so'):
        pytest.skip('mmcv has no compiled ops here to compare with')
    return importlib.import_module('mmcv.ops')


@pytest.fixture
def on_forms(monkeypatch):
    """mmcv.ops on the PyTorch forms, whether or not it has compiled ops."""
    ops = importlib.import_module('mmcv.ops')
    ext = ModuleType('mmcv._ext')
    ExtLoader(None).exec_module(ext)
    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
            monkeypatch.setattr(module, 'ext_module', ext)
    return ops
