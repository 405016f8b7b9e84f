"""mmcv.ops on the PyTorch forms."""

from types import ModuleType

import pytest

from mmblocks.ops.finder import ExtLoader
from tests.mmcv_ops import running_on


@pytest.fixture
def on_forms():
    """mmcv.ops on the PyTorch forms, whether or not it has compiled ops."""
    ext = ModuleType('mmcv._ext')
    ExtLoader(None).exec_module(ext)
    with running_on(ext) as ops:
        yield ops
