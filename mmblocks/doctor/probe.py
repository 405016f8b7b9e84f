"""Imports libraries one after the other and prints how that went, each as a line of JSON.

`mmblocks.doctor.report` runs this file in a process of its own, which a broken library may end.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from importlib import import_module
from typing import Any

LIBRARIES = (
    *('numpy', 'torch', 'cv2', 'pycocotools.mask', 'pkg_resources', 'mmengine', 'mmcv', 'mmdet'),
    *('mmblocks', 'torchvision', 'timm', 'mmpretrain'),
)
DEVICES, OPS = 'devices', 'ops'


def _import(name: str) -> dict[str, Any]:
    module = import_module(name)
    return dict(version=str(getattr(module, '__version__', '')))


def _devices() -> dict[str, Any]:
    import torch

    found = [f'CPU ({torch.get_num_threads()} threads)']
    for i in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        found.append(f'cuda:{i} {torch.cuda.get_device_name(i)} ({memory:.0f} GiB)')
    if torch.backends.mps.is_available():
        found.append('mps')
    build = torch.version.cuda or torch.version.hip
    return dict(found=found, build=f'CUDA or HIP {build}' if build else 'CPU only')


def _ops() -> dict[str, Any]:
    import_module('mmblocks')
    return dict(compiled=import_module('mmblocks.ops.finder').runs_compiled_ops())


def main() -> None:
    """Imports everything, and prints a line before and one after each."""
    # The folder of this file is no place to import from.
    sys.path.pop(0)
    warnings.simplefilter('ignore')
    tasks: dict[str, Any] = {name: lambda name=name: _import(name) for name in LIBRARIES}
    tasks |= {DEVICES: _devices, OPS: _ops}
    for name, task in tasks.items():
        print(json.dumps(dict(name=name)), flush=True)
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                result = task()
        except BaseException as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == name.split('.')[0]
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            text = f'{type(error).__name__}: {lines[0] if lines else ""}'
            result = dict(error=text, missing=missing)
        print(json.dumps(dict(name=name, said=said.getvalue()[-2000:], **result)), flush=True)


if __name__ == '__main__':
    main()
