"""Loading what fits of a state dict into a module, and saying what does not."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mmblocks.utils.errors import UserError
from mmblocks.weights.report import LoadReport, Mismatch, listed
from mmblocks.weights.values import check_values


def load_weights(
    module: nn.Module,
    state_dict: dict[str, Any],
    source: str = 'a state dict',
    allow_nonfinite: bool = False,
    added: Collection[str] = (),
) -> LoadReport:
    """Loads what fits of a state dict into a module or a whole model.

    torch does the loading, so names that a module renames while loading count as its own.

    Args:
        module: The module; wrappers for DDP and for test-time augmentation are looked through.
        state_dict: Names and tensors.
        source: Where it comes from, for the report.
        allow_nonfinite: Whether NaN and infinity are loaded with a warning.
        added: Names of tensors that a state dict need not have.

    Returns:
        What was loaded. BatchNorm's counters do not count: old checkpoints lack them and nothing
        is computed from them.

    Raises:
        UserError: A tensor holds what the module cannot compute with, as `check_values` says, or
            cannot be copied.

    Example:
        >>> import torch
        >>> load_weights(nn.Linear(2, 3), {'weight': torch.ones(3, 3)}).in_one_line
        '0 of 2 tensors loaded, 1 missing (bias), 1 of another size (weight (3, 3) for (3, 2))'
    """
    while is_model_wrapper(module) or isinstance(module, BaseTTAModel):
        module = module.get_submodule('module')
    own = module.state_dict(keep_vars=True)
    mismatched: dict[str, Mismatch] = {}
    nonfinite: dict[str, int] = {}

    def compare(part: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        tensors = part.named_parameters('', False), part.named_buffers('', False)
        for key in (prefix + name for name, _ in itertools.chain(*tensors)):
            if key not in own or key not in state_dict or is_lazy(own[key]):
                continue
            given, wanted = state_dict[key], own[key]
            if _fits(given, wanted):
                if count := check_values(key, given, wanted, allow_nonfinite):
                    nonfinite[key] = count
            else:
                shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
                mismatched[key] = key, shape, tuple(wanted.shape)
                del state_dict[key]  # torch would raise, without saying what is missing

    # The last hooks of each part, behind those that rename.
    handles = [part.register_load_state_dict_pre_hook(compare) for part in module.modules()]
    try:
        result = module.load_state_dict(state_dict, strict=False)
    except RuntimeError as error:
        failed = str(error).split('\n\t')[1:] or [str(error)]
        raise UserError(f'{len(failed)} tensors of it cannot be copied: {failed[0]}') from error
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
    counted = [name for name in own if not _is_counter(name)]
    lacking = set(result.missing_keys) - mismatched.keys()
    return LoadReport(
        module=type(module).__name__,
        source=source,
        matched=tuple(n for n in counted if n not in lacking and n not in mismatched),
        missing=tuple(n for n in counted if n in lacking and n not in added),
        added=tuple(n for n in counted if n in lacking and n in added),
        mismatched=tuple(entry for name, entry in mismatched.items() if not _is_counter(name)),
        unexpected=tuple(sorted(n for n in result.unexpected_keys if not _is_counter(n))),
    )


def _fits(given: Any, wanted: Tensor) -> bool:
    # A counter is a number or, in old files, a list of one.
    shapes = (wanted.shape, (1,)) if wanted.dim() == 0 else (wanted.shape,)
    return isinstance(given, Tensor) and given.shape in shapes


def _is_counter(name: str) -> bool:
    return name.endswith('num_batches_tracked')
