"""What is wrong with an environment, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmblocks.doctor.installed import DISTRIBUTIONS, installed, major, wanted_torch

Probed = Mapping[str, Mapping[str, Any]]

_NEEDED = ('torch', 'numpy', 'cv2', 'pycocotools.mask', 'mmengine', 'mmcv', 'mmdet', 'mmblocks')
_INSTALL = {
    'mmengine': "pip install 'mmblocks[openmmlab]'",
    'mmcv': "pip install 'mmblocks[lite]', or [openmmlab] for compiled ops, or [onedl]",
    'mmdet': "pip install 'mmblocks[lite]', or [openmmlab] for compiled ops, or [onedl]",
    'cv2': 'pip install opencv-python-headless',
    'pycocotools.mask': 'pip install pycocotools',
}
# By what a failed import says: what to do.
_REMEDIES = {
    'libGL': 'opencv-python needs a display: pip uninstall opencv-python, then pip install '
    '--force-reinstall opencv-python-headless',
    'libgthread': 'pip uninstall opencv-python, then pip install --force-reinstall '
    'opencv-python-headless',
    'numpy.dtype size changed': 'it was compiled for another NumPy: pip install '
    '--force-reinstall --no-cache-dir it',
    '_ARRAY_API': 'it was compiled for NumPy 1: install a newer version of it, or numpy<2',
    'compiled using NumPy 1': 'it was compiled for NumPy 1: install a newer version of it, or '
    'numpy<2',
    'numpy.core': 'it was compiled for another NumPy: install a newer version of it',
    'torchvision::': 'torchvision does not fit torch: install the one that does, or pip uninstall '
    'torchvision, which mmblocks does not need',
    'undefined symbol': 'it was compiled for another torch: install it anew with --no-cache-dir '
    '--no-build-isolation',
    'pkg_resources': "pip install 'setuptools<81'",
    'MMCV==': "pip install 'mmcv>=2.0.0,<2.2.0', or mmcv-lite of such a version",
    'mmcv._ext': "mmcv has no compiled ops: unset MMBLOCKS_OPS to take mmblocks' PyTorch forms",
}


class Problem(NamedTuple):
    """Something that is wrong.

    Attributes:
        text: What it is.
        remedy: What to do about it.
    """

    text: str
    remedy: str


def find_problems(probed: Probed) -> list[Problem]:
    """Returns what is wrong with an environment, the causes before what follows from them.

    Args:
        probed: What importing each library has shown.
    """
    return [*_doubles(), *_versions(probed), *_imports(probed), *_ops(probed)]


def _doubles() -> Iterator[Problem]:
    for library in DISTRIBUTIONS:
        if len(found := installed(library)) > 1:
            names = ' and '.join(f'{name} {version}' for name, version in found.items())
            uninstall = f'pip uninstall {" ".join(found)}, then install one of them'
            yield Problem(f'{names} overwrite each other ({library})', uninstall)


def _versions(probed: Probed) -> Iterator[Problem]:
    tools = installed('pkg_resources').get('setuptools', '')
    # The forks do without.
    if 'mmengine' in installed('mmengine') and (
        major(tools) >= 81 or probed.get('pkg_resources', {}).get('missing')
    ):
        yield Problem(
            f'setuptools {tools or "is not there"}: MMEngine needs its pkg_resources, which goes '
            'from 81 on',
            "pip install 'setuptools<81'",
        )
    torch, wanted = installed('torch').get('torch', ''), wanted_torch()
    if wanted and torch and torch.partition('+')[0] != wanted:
        vision = installed('torchvision')['torchvision']
        yield Problem(
            f'torchvision {vision} is made for torch {wanted}, and torch {torch} is there; it '
            "breaks MMEngine's Runner",
            'install the torchvision for this torch, or pip uninstall torchvision, which mmblocks '
            'does not need',
        )


def _imports(probed: Probed) -> Iterator[Problem]:
    seen = set()
    for library in DISTRIBUTIONS:
        result = probed.get(library)
        if result is None or library == 'pkg_resources':
            continue
        name = library.partition('.')[0]
        error = result.get('error', '')
        if result.get('missing'):
            if library in _NEEDED:
                install = _INSTALL.get(library, f'pip install {name}')
                yield Problem(f'{name} is not there', install)
        elif error and error not in seen:
            seen.add(error)
            yield Problem(f'import {name}: {error}', _remedy(error, name))
        elif 'compiled using NumPy 1' in result.get('said', ''):
            yield Problem(
                f'{name} or what it imports was compiled for NumPy 1',
                _remedy('compiled using NumPy 1', name),
            )


def _ops(probed: Probed) -> Iterator[Problem]:
    error = probed.get('ops', {}).get('error', '')
    choice = os.environ.get('MMBLOCKS_OPS', '')
    if choice not in ('', 'compiled', 'torch'):
        yield Problem(f'MMBLOCKS_OPS={choice}', 'set it to compiled or torch, or unset it')
    elif error and not probed.get('mmblocks', {}).get('error'):
        yield Problem(f'the ops of mmcv cannot be used: {error}', _remedy(error, 'mmcv'))


def _remedy(error: str, name: str) -> str:
    known = (remedy for said, remedy in _REMEDIES.items() if said in error)
    return next(known, f'install {name} anew, in a version that goes with the others')
