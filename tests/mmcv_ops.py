"""mmcv.ops on other ops than the mmcv._ext that it was imported with."""

import contextlib
import importlib
import sys

import pytest


@contextlib.contextmanager
def running_on(ext):
    """Has mmcv.ops, which it gives, run on the ops of another module."""
    ops = importlib.import_module('mmcv.ops')
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'mmcv._ext', ext)
        for name, module in list(sys.modules.items()):
            if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
                patch.setattr(module, 'ext_module', ext)
        yield ops
