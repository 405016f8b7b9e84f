"""Serving ``mmcv._ext`` where mmcv has no compiled ops, or none that load.

``mmcv.ops`` imports that module, and is of no use without it: "No module named 'mmcv._ext'". Only
this one name is looked after; nothing of mmcv is changed.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from types import ModuleType

from mmengine.logging import print_log

_NAME = 'mmcv._ext'
_FORMS = 'mmblocks.ops.ext'
_CHOICE = 'MMBLOCKS_OPS'
_CHOICES = ('compiled', 'torch')


class ExtFinder(MetaPathFinder):
    """Finds ``mmcv._ext``: the compiled one where it is there and loads, else the PyTorch forms.

    The environment variable ``MMBLOCKS_OPS`` chooses: ``compiled`` takes nothing but mmcv's own,
    ``torch`` takes the PyTorch forms also where mmcv has compiled ops.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Says how to load ``mmcv._ext``, and nothing about any other module.

        Raises:
            ImportError: ``MMBLOCKS_OPS`` is none of its values.
        """
        if name != _NAME:
            return None
        choice = os.environ.get(_CHOICE)
        if choice not in (None, '', *_CHOICES):
            raise ImportError(f'{_CHOICE}={choice}: must be {" or ".join(_CHOICES)}, or not set')
        if choice == 'compiled':
            return None
        compiled = None if choice == 'torch' else PathFinder.find_spec(name, path)
        return ModuleSpec(name, ExtLoader(compiled), origin=compiled.origin if compiled else _FORMS)


class ExtLoader(Loader):
    """Loads mmcv's compiled ops where that works, else the PyTorch forms.

    Args:
        compiled: Where the compiled ops are; None if there are none.
    """

    def __init__(self, compiled: ModuleSpec | None) -> None:
        self.compiled = compiled

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Returns the compiled ops, or None where an empty module is to be filled."""
        if self.compiled is None or self.compiled.loader is None:
            print_log("mmcv.ops runs on mmblocks' PyTorch forms of its ops", logger='current')
            return None
        try:
            module = module_from_spec(self.compiled)
            self.compiled.loader.exec_module(module)
        except ImportError as error:
            print_log(
                f"mmcv's compiled ops do not load, so mmblocks' PyTorch forms take their place: "
                f'{error}; they were built for another torch or CUDA',
                logger='current',
                level=logging.WARNING,
            )
            return None
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Fills a module that is not the compiled ops with the PyTorch forms."""
        if not _is_compiled(module):
            forms = import_module(_FORMS)
            vars(module).update({name: getattr(forms, name) for name in forms.__all__})
            vars(module)['__getattr__'] = forms.missing_op


def runs_compiled_ops() -> bool:
    """Says whether ``mmcv.ops`` runs on compiled ops; imports it.

    Raises:
        ImportError: It cannot be imported.
    """
    return _is_compiled(import_module(_NAME))


def _is_compiled(module: ModuleType) -> bool:
    return getattr(module, '__file__', None) is not None


def serve_ext() -> None:
    """Puts the finder in front of Python's own, once."""
    if not any(isinstance(finder, ExtFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ExtFinder())
