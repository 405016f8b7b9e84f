"""Pooling with ``ceil_mode`` in a form whose shape torch.export can write for any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode


class CeilByPadding(TorchFunctionMode):
    """Has pooling layers with ``ceil_mode`` pad at the right and below instead, for a while.

    Example:
        >>> pool = torch.nn.MaxPool2d(3, 2, ceil_mode=True)
        >>> x = torch.rand(1, 1, 8, 9)
        >>> with CeilByPadding():
        ...     padded = pool(x)
        >>> torch.equal(padded, pool(x))
        True
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.max_pool2d:
            return _max_pool2d(*args, **kwargs)
        if func is F.avg_pool2d:
            return _avg_pool2d(*args, **kwargs)
        return func(*args, **kwargs)


def _max_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Tensor:
    if not ceil_mode:
        return torch.max_pool2d(x, kernel_size, stride, padding, dilation)
    stride = stride or kernel_size
    x = F.pad(x, _around(stride, padding), value=float('-inf'))
    return torch.max_pool2d(x, kernel_size, stride, 0, dilation)


def _avg_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    if not ceil_mode or divisor_override is not None:
        return F.avg_pool2d(
            x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )
    stride = stride or kernel_size
    # What a window averages over, but for what is beyond the padding that counts.
    counted = torch.ones_like(x[:1, :1])
    if count_include_pad:
        height, width = _pair(padding)
        counted = F.pad(counted, (width, width, height, height), value=1.0)
    whole = F.pad(x, _around(stride, padding))
    share = F.pad(counted, _around(stride, 0 if count_include_pad else padding))
    return F.avg_pool2d(whole, kernel_size, stride) / F.avg_pool2d(share, kernel_size, stride)


def _around(stride: Any, padding: Any) -> tuple[int, int, int, int]:
    """Padding at the left, right, top and bottom; the last window may begin a stride later."""
    (down, right), (height, width) = _pair(stride), _pair(padding)
    return width, width + right - 1, height, height + down - 1
