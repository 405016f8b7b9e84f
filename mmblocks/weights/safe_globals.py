"""What the checkpoints of trainers need on top of tensors, and nothing that runs code.

A checkpoint of MMEngine's ``Runner`` holds tensors, and beside them the history of the log, the
state of the schedulers and numpy scalars; timm's and others' hold their command line.
``torch.load(weights_only=True)`` refuses those until they are put on its allow list.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

__all__ = ['allow_mmengine_checkpoints']


class _RestoredHistory(HistoryBuffer):
    """Stands for ``HistoryBuffer`` in a file and becomes one as soon as its data are in.

    ``HistoryBuffer`` itself copies the functions named in the file into a table that all log
    buffers of the process share. They are the class's own anyway, so only the data are taken.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__class__ = HistoryBuffer
        self.__init__(max_length=state['max_length'])
        self._log_history = state['_log_history']
        self._count_history = state['_count_history']


class _OneCycleName:
    """Stands for ``OneCycleParamScheduler`` in a file, where only its functions are asked for."""


# The functions that MMEngine's classes put into a checkpoint; pickle looks them up by getattr.
_FUNCTIONS: dict[type, tuple[type, tuple[str, ...]]] = {
    HistoryBuffer: (HistoryBuffer, ('min', 'max', 'mean', 'current')),
    _RestoredHistory: (HistoryBuffer, ('min', 'max', 'mean', 'current')),
    _OneCycleName: (OneCycleParamScheduler, ('_annealing_cos', '_annealing_linear')),
}


def _getattr(owner: Any, name: Any) -> Callable:
    """Stands for ``builtins.getattr`` in a file: knows the functions above and nothing else."""
    source, names = _FUNCTIONS.get(owner, (None, ())) if isinstance(owner, type) else (None, ())
    if source is None or not isinstance(name, str) or name not in names:
        raise AttributeError(f'unsupported GLOBAL getattr({owner!r}, {name!r})')
    return getattr(source, name)


def _allowed() -> list[tuple[Any, str]]:
    """Pairs of what is allowed and the name that a file knows it by."""
    rebuild_array = np.zeros(1).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    dtypes = (type(np.dtype(code)) for code in '?bhilqBHILQefdSU')
    return [
        (_getattr, 'builtins.getattr'),
        (_RestoredHistory, f'{HistoryBuffer.__module__}.HistoryBuffer'),
        (_OneCycleName, f'{OneCycleParamScheduler.__module__}.OneCycleParamScheduler'),
        (ConfigDict, f'{ConfigDict.__module__}.ConfigDict'),
        (np.ndarray, 'numpy.ndarray'),
        (np.dtype, 'numpy.dtype'),
        # numpy 2 moved numpy.core to numpy._core; files of either must load under either.
        *((rebuild_array, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
        *((rebuild_scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
        *((dtype, f'{dtype.__module__}.{dtype.__qualname__}') for dtype in dtypes),
        (Namespace, 'argparse.Namespace'),
        # Python 3.13 calls them pathlib._local's; a path of another system cannot be made here.
        *((PurePosixPath, f'{module}.PosixPath') for module in ('pathlib', 'pathlib._local')),
        *((PureWindowsPath, f'{module}.WindowsPath') for module in ('pathlib', 'pathlib._local')),
    ]


def allow_mmengine_checkpoints() -> None:
    """Lets ``torch.load(weights_only=True)`` read the checkpoints of MMEngine's ``Runner``.

    Allowed are numpy arrays, scalars and dtypes, ``HistoryBuffer``, ``ConfigDict``, the two
    functions of ``OneCycleParamScheduler``, and paths and ``argparse.Namespace``, which other
    trainers store. ``builtins.getattr``, which such files name too, is
    answered by a stand-in that knows those functions only, so that a file cannot reach anything
    else through it. May be called any number of times. Needs torch 2.6 or later.

    Example:
        >>> import io, torch
        >>> from mmengine.logging import HistoryBuffer
        >>> file = io.BytesIO()
        >>> torch.save(HistoryBuffer([1.0, 3.0], [1, 1]), file)
        >>> allow_mmengine_checkpoints()
        >>> float(torch.load(io.BytesIO(file.getvalue()), weights_only=True).mean())
        2.0
    """
    # As pairs, because torch.serialization.safe_globals takes away again on its exit what it
    # lists by itself, and others list the same classes there.
    torch.serialization.add_safe_globals(_allowed())
