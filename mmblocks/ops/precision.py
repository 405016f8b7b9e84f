"""The precision that the PyTorch forms compute in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Returns values in float64 if they are, else in float32: half precision sums up too coarsely.

    Args:
        values: Of any floating dtype and shape.

    Example:
        >>> at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return values if values.dtype == torch.float64 else values.float()
