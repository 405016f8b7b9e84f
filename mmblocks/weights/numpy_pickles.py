"""numpy's arrays, scalars and dtypes in files, as far as they are plain numbers and text.

numpy believes the file: a dtype takes over flags and fields that make pointers of an array's bytes,
an array any shape. What stands here for them in an unpickler's allow list takes the kind, the byte
order, a shape and as many bytes as belong to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Booleans, integers, floats, bytes and text, as numpy writes them.
_PLAIN = re.compile(r'[<>=|]?(b1|[iu][1248]|f[248]|[SU][1-9]\d{0,5})')
_LAST_CHARACTER = 0x10FFFF


class PlainDtype:
    """Stands for ``numpy.dtype`` in a file; of its state, only the byte order counts.

    Args:
        text: Such as ``'f8'``.

    Attributes:
        dtype: The real one.
    """

    __slots__ = ('dtype',)

    def __init__(self, text: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(text, str) or not _PLAIN.fullmatch(text):
            given = text[:40] if isinstance(text, str) else f'a {type(text).__name__}'
            raise TypeError(f'numpy.dtype({given}) is neither numbers nor text')
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ('<', '>', '=', '|'):
            raise ValueError('a numpy.dtype in it has no byte order')
        self.dtype = self.dtype.newbyteorder(order)

    def bytes_of(self, data: Any, shape: Any) -> bytes | bytearray:
        """Returns the bytes of an array, if they are its bytes.

        Args:
            data: Bytes, or the text that Python 2's become.
            shape: Of the array.

        Raises:
            ValueError: There are more or fewer of them, or it is no shape.
        """
        if isinstance(data, str):
            data = data.encode('latin1')
        if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError('a numpy array in it has no shape')
        if not isinstance(data, (bytes, bytearray)) or (
            len(data) != math.prod(shape) * self.dtype.itemsize
        ):
            raise ValueError('a numpy array in it has not as many bytes as its shape says')
        if self.dtype.kind == 'U':
            codes = np.frombuffer(data, f'{self.dtype.byteorder}u4')
            if codes.size and codes.max() > _LAST_CHARACTER:
                raise ValueError('a numpy array of text in it holds none')
        return data


class PlainArray(np.ndarray[Any, Any]):
    """Stands for ``numpy.ndarray`` in a file: one that takes no other state than a plain array's.

    Copied or written again, it is a ``numpy.ndarray``.
    """

    def __new__(cls) -> PlainArray:  # noqa: D102
        return super().__new__(cls, (0,), 'b')

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError('a numpy array in it has no state')
        _, shape, dtype, in_columns, data = state
        dtype = _plain(dtype)
        data = bytes(dtype.bytes_of(data, shape))
        state = (1, shape, dtype.dtype, in_columns is True, data)
        super().__setstate__(state)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any] | None) -> Any:
        return np.array(self)


def _reconstruct(kind: Any, shape: Any, dtype: Any) -> PlainArray:
    if kind not in (PlainArray, np.ndarray):
        raise ValueError('a numpy array in it is of another class')
    return PlainArray()


def _scalar(dtype: Any, data: Any) -> np.generic:
    return _frombuffer(data, dtype, (1,), 'C')[0]


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> NDArray[Any]:
    if order not in ('C', 'F', 'K'):
        raise ValueError('a numpy array in it has no order')
    dtype = _plain(dtype)
    array = np.frombuffer(dtype.bytes_of(data, shape), dtype.dtype)
    if order == 'K':
        return array.reshape(shape).transpose(axes)
    return array.reshape(shape, order=order)


def _no_bytes() -> bytes:
    return b''


def _plain(dtype: Any) -> PlainDtype:
    if isinstance(dtype, PlainDtype):
        return dtype
    if isinstance(dtype, np.dtype):  # where somebody else has put numpy's own on the allow list
        return PlainDtype(dtype.str)
    raise ValueError('a numpy array or scalar in it has no dtype')


def _named() -> dict[str, Callable[..., Any]]:
    inside: dict[str, Callable[..., Any]] = {
        'multiarray._reconstruct': _reconstruct,
        'multiarray.scalar': _scalar,
        'numeric._frombuffer': _frombuffer,
    }
    # numpy 2 moved numpy.core to numpy._core; files of either must load under either.
    return {
        'numpy.dtype': PlainDtype,
        'numpy.ndarray': PlainArray,
        # Those of an empty array.
        'builtins.bytes': _no_bytes,
        '__builtin__.bytes': _no_bytes,
        **{f'numpy.{core}.{name}': f for core in ('core', '_core') for name, f in inside.items()},
    }


# What a file asks for, and what it gets.
STAND_INS = _named()
