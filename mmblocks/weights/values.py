"""Whether the tensors of a checkpoint hold numbers that a net can compute with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmblocks.utils.errors import UserError

# Names in which quantised layers keep their weights: torch.ao.quantization's, GPTQ's and AWQ's.
_QUANTISED_NAMES = re.compile(r'(^|\.)(_packed_params|qweight)(\.|$)')
_BYTES = (torch.int8, torch.uint8)


def check_tensors(state_dict: Mapping[str, Any], source: str) -> None:
    """Raises for tensors that are not plain ones with a value for each of their elements.

    Args:
        state_dict: Names and tensors; what else is in it is not looked at.
        source: Where it comes from, for the error.

    Raises:
        UserError: A tensor is quantised, sparse, without values or of a class of its own.
    """
    for name, value in state_dict.items():
        if wrong := _wrong(name, value):
            raise UserError(f'{source}: {wrong}')


def _wrong(name: str, value: Any) -> str | None:
    if _QUANTISED_NAMES.search(name):
        return _quantised(name)
    if not isinstance(value, Tensor):
        return None
    if value.is_meta:
        return f'{name} has no values: it was saved from the meta device'
    if value.is_nested or value.layout is not torch.strided:
        return f'{name} is a sparse or nested tensor; save it as a dense one'
    if type(value) not in (Tensor, nn.Parameter):
        return f'{name} is a {type(value).__name__}; save it as a plain tensor'
    in_bytes = value.is_floating_point() and value.element_size() == 1
    if value.is_quantized or in_bytes or (name.endswith('weight') and value.dtype in _BYTES):
        return _quantised(name, value)
    return None


def _quantised(name: str, value: Tensor | None = None) -> str:
    kind = '' if value is None else f' is {_kind(value)}'
    return f'these are quantised weights ({name}{kind}); take the float ones that they were made of'


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix('torch.')


def check_values(name: str, given: Tensor, wanted: Tensor, allow_nonfinite: bool = False) -> int:
    """Raises for numbers that a module cannot compute with.

    Args:
        name: Name of the tensor that they are for.
        given: What is to be loaded.
        wanted: The module's own tensor, of the same shape.
        allow_nonfinite: Whether NaN and infinity are counted only.

    Returns:
        How many values are NaN or infinite where the module's own are not.

    Raises:
        UserError: Floats are wanted and these are integers, booleans or complex numbers, a
            variance is negative, or a value is NaN or infinite.

    Example:
        >>> check_values('scale', torch.tensor([1, 0]), torch.ones(2))
        Traceback (most recent call last):
        mmblocks.utils.errors.UserError: scale is int64, where floats are wanted
    """
    if wrong := _unfit(given, wanted):
        raise UserError(f'{name} {wrong}')
    if name.rpartition('.')[2] == 'running_var' and (given < 0).any():
        raise UserError(f'{name} has negative variances')
    count = _count_nonfinite(given, wanted)
    if count and not allow_nonfinite:
        raise UserError(
            f'{name} has {count:,} values of {given.numel():,} that are NaN or infinite; '
            'allow_nonfinite=True loads them all the same'
        )
    return count


def _unfit(given: Tensor, wanted: Tensor) -> str | None:
    """Returns why numbers of one kind cannot be loaded in place of those of another, if so."""
    if wanted.is_floating_point() and not given.is_floating_point():
        return f'is {_kind(given)}, where floats are wanted'
    if given.is_complex() and not wanted.is_complex():
        return f'is {_kind(given)}, where {_kind(wanted)} is wanted'
    return None


def _count_nonfinite(given: Tensor, wanted: Tensor) -> int:
    """Counts NaN and infinity, but not where the module has them itself, as masks do."""
    if not given.is_floating_point():
        return 0
    bad = ~given.detach().isfinite()
    if bad.any() and not wanted.is_meta:
        bad &= wanted.detach().isfinite().to(bad.device)
    return int(bad.sum())
