"""Plain pickles of numpy arrays, such as those of detectron2's model zoo."""

from __future__ import annotations

import mmap
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from mmblocks.utils.errors import UserError, first_line
from mmblocks.weights.numpy_pickles import STAND_INS, PlainArray, PlainDtype

# The opcodes that numbers, text, lists, tuples, dicts and calls are written with. Objects of
# classes have others.
_OPCODES = (
    'PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG '
    'LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE '
    'SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE '
    'TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS GET '
    'BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD'
)
_KEYS = (str, int, float, bytes, bool, type(None))
# How deep the arrays of a trainer's file lie: in a state dict under a name or two.
_DEEPEST = 3


def read_array_pickle(file: Path) -> Any:
    """Reads a pickle of numpy arrays.

    Args:
        file: The file.

    Returns:
        What it holds, arrays as tensors.

    Raises:
        UserError: The file asks for more than arrays, or it is damaged.
    """
    try:
        with file.open('rb') as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as data:
            return _as_tensors(_ArrayUnpickler(data).load(), {})
    except _RefusedError as error:
        raise UserError(f'{file} is refused: {error}') from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise UserError(
            f'{file} is no pickle of arrays, or it is damaged: {first_line(error)}'
        ) from error


class _RefusedError(Exception):
    """A pickle asks for something that no arrays need."""


class _ArrayUnpickler(pickle._Unpickler):
    """Python's own unpickler without what makes objects of classes.

    The one in C would let a file set the attributes of what stands for numpy's functions, and
    reserve any amount of memory.

    Args:
        data: The file.
    """

    # What the stubs of Python's own leave out.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    dispatch: ClassVar[dict[int, Any]] = {
        code: pickle._Unpickler.dispatch[code]
        for name in _OPCODES.split()
        for code in getattr(pickle, name)
    }

    def __init__(self, data: mmap.mmap) -> None:
        super().__init__(data, encoding='latin1')
        # Arrays have no more bytes than their file; one that gives the same bytes to many of them
        # would fill the memory.
        self._left = len(data)
        self._known = {
            **STAND_INS,
            'collections.OrderedDict': self._ordered_dict,
            '_codecs.encode': self._encode,  # how Python 3 writes bytes for Python 2
        }

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for something of numpy, and refuses all else by its name."""
        full = f'{module}.{name}'
        if full.startswith('torch.'):
            raise _RefusedError(
                f'it asks for {full}, and is a plain pickle of tensors; save them by torch.save'
            )
        if full not in self._known:
            raise _RefusedError(
                f'it asks for {full}, which no weights need; where the file is trusted, save its '
                'arrays alone and load those'
            )
        return self._known[full]

    def _ordered_dict(self, pairs: Any = ()) -> OrderedDict[Any, Any]:
        return _with_items(OrderedDict(), [item for pair in pairs for item in pair])

    def _encode(self, text: str, encoding: str) -> bytes:
        return text.encode('latin1' if encoding == 'latin1' else 'utf-8')

    def _spend(self, *values: Any) -> None:
        self._left -= sum(len(data) for data in values if isinstance(data, (str, bytes, bytearray)))
        if self._left < 0:
            raise _RefusedError('the same bytes of it stand for many arrays')

    def _load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack[-1]
        if not any(function is known for known in self._known.values()):
            raise _RefusedError('it asks for a call of what is no function')
        self._spend(*arguments)
        self.stack[-1] = function(*arguments)

    def _load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is OrderedDict:  # attributes, of which no weights need any
            return
        if type(target) not in (PlainArray, PlainDtype):
            raise _RefusedError(f'it gives a state to a {type(target).__name__}')
        if isinstance(state, tuple):
            self._spend(*state)
        target.__setstate__(state)

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.append(_with_items({}, items))

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _with_items(self.stack[-1], [key, value])

    def _load_setitems(self) -> None:
        items = self.pop_mark()
        _with_items(self.stack[-1], items)

    def _load_bytearray8(self) -> None:
        (size,) = struct.unpack('<Q', self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch[pickle.REDUCE[0]] = _load_reduce
    dispatch[pickle.BUILD[0]] = _load_build
    dispatch[pickle.DICT[0]] = _load_dict
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.SETITEMS[0]] = _load_setitems
    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray8


def _with_items(target: Any, items: list[Any]) -> Any:
    """Puts keys and values in turn into a dict."""
    if type(target) not in (dict, OrderedDict):
        raise _RefusedError(f'it puts items into a {type(target).__name__}')
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in _KEYS:  # to look a tuple of tuples up can take for ever
            raise _RefusedError(f'a key in it is a {type(key).__name__}')
        target[key] = value
    return target


def _as_tensors(value: Any, done: dict[int, tuple[Any, Any]], depth: int = _DEEPEST) -> Any:
    """Turns arrays into tensors, each once, in the dicts that they are in."""
    if id(value) in done:
        return done[id(value)][1]
    new = value
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        native = value.astype(value.dtype.newbyteorder('='), order='C')
        new = torch.from_numpy(np.asarray(native))
    # With the array itself, since another one could get the id of one that is gone.
    done[id(value)] = (value, new)
    if isinstance(value, dict) and depth:
        for key, item in value.items():
            value[key] = _as_tensors(item, done, depth - 1)
    return new
