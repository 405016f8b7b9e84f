"""mmcv's compiled ops, from where `make peers` puts them."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

FILE = Path(__file__).resolve().parents[1] / '.peers' / 'compiled' / '_ext.so'


def load_compiled_ops() -> ModuleType:
    """Loads them beside the PyTorch forms, under another name than ``mmcv._ext``."""
    if not FILE.is_file():
        raise SystemExit(f"mmcv's compiled ops are not in {FILE.parent}: `make peers` brings them")
    spec = spec_from_file_location('compiled._ext', FILE)
    ext = module_from_spec(spec)
    spec.loader.exec_module(ext)
    return ext


def use(ext: ModuleType) -> None:
    """Has mmcv's functions run on these ops."""
    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
            module.ext_module = ext
