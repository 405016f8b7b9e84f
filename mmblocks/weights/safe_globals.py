"""What the checkpoints of trainers need on top of tensors, and nothing that runs code.

A checkpoint of MMEngine's ``Runner`` holds tensors, and beside them the history of the log, the
state of the schedulers and numpy scalars; timm's and others' hold their command line.
``torch.load(weights_only=True)`` refuses those until they are put on its allow list.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, TypeGuard

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from numpy.typing import NDArray

from mmblocks.weights.numpy_pickles import STAND_INS, PlainArray, PlainDtype
from mmblocks.weights.training_state import is_small

__all__ = ['allow_mmengine_checkpoints']


class _RestoredHistory(HistoryBuffer):
    """Stands for ``HistoryBuffer`` in a file and becomes one as soon as its data are in.

    ``HistoryBuffer`` itself copies the functions named in the file into a table that all log
    buffers of the process share. They are the class's own anyway, so only the data are taken.
    """

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        log, count, longest = (
            state.get(name) if isinstance(state, dict) else None
            for name in ('_log_history', '_count_history', 'max_length')
        )
        if not _is_series(log) or not _is_series(count) or log.shape != count.shape:
            raise ValueError('a HistoryBuffer in it holds no two series of numbers')
        if type(longest) is not int or longest < 1:
            raise ValueError('a HistoryBuffer in it has no max_length')
        self.__class__ = HistoryBuffer  # type: ignore[assignment]
        HistoryBuffer.__init__(self, max_length=longest)
        self._log_history, self._count_history = np.array(log), np.array(count)


def _is_series(value: Any) -> TypeGuard[NDArray[Any]]:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in 'biuf'


def _config_dict(values: Any) -> ConfigDict:
    """Stands for ``ConfigDict`` in a file, which copies all that is in it."""
    if not isinstance(values, dict) or not is_small(values):
        raise ValueError('a ConfigDict in it is none, or does not end')
    return ConfigDict(values)


class _OneCycleName:
    """Stands for ``OneCycleParamScheduler`` in a file, where only its functions are asked for."""


# The functions that MMEngine's classes put into a checkpoint; pickle looks them up by getattr.
_FUNCTIONS: dict[type, tuple[type, tuple[str, ...]]] = {
    HistoryBuffer: (HistoryBuffer, ('min', 'max', 'mean', 'current')),
    _RestoredHistory: (HistoryBuffer, ('min', 'max', 'mean', 'current')),
    _OneCycleName: (OneCycleParamScheduler, ('_annealing_cos', '_annealing_linear')),
}


def _getattr(owner: Any, name: Any) -> Callable[..., Any]:
    """Stands for ``builtins.getattr`` in a file: knows the functions above and nothing else."""
    source, names = _FUNCTIONS.get(owner, (None, ())) if isinstance(owner, type) else (None, ())
    if source is None or not isinstance(name, str) or name not in names:
        raise AttributeError(f'unsupported GLOBAL getattr({owner!r}, {name!r})')
    return getattr(source, name)


_WITH_STATE = (_RestoredHistory, PlainArray, PlainDtype)


def _allowed() -> list[tuple[Any, str]]:
    """Pairs of what is allowed and the name that a file knows it by."""
    return [
        (_getattr, 'builtins.getattr'),
        (_RestoredHistory, f'{HistoryBuffer.__module__}.HistoryBuffer'),
        (_OneCycleName, f'{OneCycleParamScheduler.__module__}.OneCycleParamScheduler'),
        (_config_dict, f'{ConfigDict.__module__}.ConfigDict'),
        *((stand_in, name) for name, stand_in in STAND_INS.items()),
        # A state is given to those classes only that are on the list, which others' entries under
        # the names above can push them from.
        *((kind, f'{kind.__module__}.{kind.__qualname__}') for kind in _WITH_STATE),
        (Namespace, 'argparse.Namespace'),
        # Python 3.13 calls them pathlib._local's; a path of another system cannot be made here.
        *((PurePosixPath, f'{module}.PosixPath') for module in ('pathlib', 'pathlib._local')),
        *((PureWindowsPath, f'{module}.WindowsPath') for module in ('pathlib', 'pathlib._local')),
    ]


def allow_mmengine_checkpoints() -> None:
    """Lets ``torch.load(weights_only=True)`` read the checkpoints of MMEngine's ``Runner``.

    Allowed are numpy arrays and scalars of numbers and text, ``HistoryBuffer``, ``ConfigDict``, the
    two functions of ``OneCycleParamScheduler``, and paths and ``argparse.Namespace``, which other
    trainers store. For numpy's classes, which believe any state that a file gives them, and
    ``builtins.getattr``, which such files name too, there are stand-ins that give those and nothing
    else; they take the place of what others have allowed under the same names. May be called any
    number of times. Needs torch 2.6 or later.

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
    ours = _allowed()
    names = {name for _, name in ours}
    others = [entry for entry in torch.serialization.get_safe_globals() if entry not in ours]
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*ours, *(e for e in others if _name(e) not in names)])


def _name(entry: Any) -> str:
    """Returns the name that a file knows an entry of the allow list by."""
    return entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'
