"""mmcv._ext is mmcv's own where that loads, and the PyTorch forms elsewhere."""

import importlib.machinery
import importlib.util
import logging
import sys

import pytest
from mmengine.logging import MMLogger

from mmblocks.ops.finder import ExtFinder, ExtLoader, serve_ext


def test_importing_mmblocks_puts_one_finder_in_front():
    serve_ext()
    assert [type(finder) for finder in sys.meta_path].count(ExtFinder) == 1


def test_no_other_module_is_its_business():
    assert ExtFinder().find_spec('mmcv.ops', None) is None


@pytest.mark.parametrize('choice', [None, 'compiled', 'torch', 'cuda'])
def test_the_environment_chooses(monkeypatch, choice):
    monkeypatch.delenv('MMBLOCKS_OPS', raising=False)
    if choice:
        monkeypatch.setenv('MMBLOCKS_OPS', choice)
    if choice == 'cuda':
        with pytest.raises(ImportError, match='MMBLOCKS_OPS=cuda: must be compiled or torch'):
            ExtFinder().find_spec('mmcv._ext', [])
        return
    spec = ExtFinder().find_spec('mmcv._ext', [])  # nothing compiled on this path
    assert (spec is None) == (choice == 'compiled')
    if spec is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.get_compiling_cuda_version() == 'not available'
        assert callable(module.tin_shift_forward)


def test_compiled_ops_that_do_not_load_are_named_and_replaced(tmp_path, caplog, monkeypatch):
    monkeypatch.delenv('MMBLOCKS_OPS', raising=False)
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (tmp_path / f'_ext{suffix}').write_bytes(b'built for another torch')
    spec = ExtFinder().find_spec('mmcv._ext', [str(tmp_path)])
    assert isinstance(spec.loader, ExtLoader)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        logger.removeHandler(caplog.handler)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert f'_ext{suffix}' in warning.getMessage()
    assert 'PyTorch forms' in module.get_compiler_version()
