"""Whether the tensors of a checkpoint hold numbers that a net can compute with."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mmblocks.utils.errors import UserError
from mmblocks.weights.report import listed

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


@contextmanager
def checked_values(module: nn.Module, allow_nonfinite: bool = False) -> Iterator[None]:
    """Within it, what is loaded into a module must be numbers that it can compute with.

    Args:
        module: A net or any other module; whatever loads, under our names or others.
        allow_nonfinite: Whether NaN and infinity are warned of only.

    Raises:
        UserError: A tensor that belongs to floats has integers, booleans or complex numbers, a
            variance is negative, or there is NaN or infinity where the module has none itself.

    Example:
        >>> net = nn.Linear(1, 2)
        >>> with checked_values(net):
        ...     net.load_state_dict(dict(weight=torch.ones(2, 1), bias=torch.tensor([1, 0 / 1])))
        <All keys matched successfully>
    """
    nonfinite: dict[str, int] = {}

    def check(part: nn.Module, state_dict: Mapping[str, Any], prefix: str, *_: Any) -> None:
        own = itertools.chain(part.named_parameters('', False), part.named_buffers('', False))
        for name, wanted in own:
            given = state_dict.get(prefix + name)
            if is_lazy(wanted) or not isinstance(given, Tensor) or given.shape != wanted.shape:
                continue
            if wrong := _unfit(given, wanted):
                raise UserError(f'{prefix}{name} {wrong}')
            if name == 'running_var' and (given < 0).any():
                raise UserError(f'{prefix}{name} has negative variances')
            if count := _count_nonfinite(given, wanted):
                nonfinite[prefix + name] = count
                if not allow_nonfinite:
                    raise UserError(
                        f'{prefix}{name} has {count:,} values of {given.numel():,} that are NaN or '
                        'infinite; allow_nonfinite=True loads them all the same'
                    )

    # The last hooks of each module, so that the names are its own by then.
    handles = [part.register_load_state_dict_pre_hook(check) for part in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if nonfinite:
        print_log(
            f'{sum(nonfinite.values()):,} values in {len(nonfinite)} tensors are NaN or infinite: '
            f'{listed(list(nonfinite))}',
            logger='current',
            level=logging.WARNING,
        )


def _unfit(given: Tensor, wanted: Tensor) -> str | None:
    """Says why numbers of one kind cannot take the place of those of another, if so."""
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
