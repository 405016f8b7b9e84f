"""Whether a checkpoint fits the model that it is loaded into."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from mmblocks.weights.values import checked_values

_SHAPES = re.compile(
    r'size mismatch for (\S+): .*?shape (?:torch\.Size\()?(.*?)\)? from checkpoint, '
    r'the shape in current model is (?:torch\.Size\()?(.*?)\)?\.$'
)
_EXAMPLES = 3  # so many names are shown of each kind


@dataclass(frozen=True)
class Fit:
    """How the tensors of a checkpoint and of a model met while loading.

    Attributes:
        total: Number of tensors of the model.
        missing: Tensors of the model that the checkpoint lacks.
        unexpected: Tensors of the checkpoint that the model lacks.
        misfits: Tensors that are in both but could not be copied, with the reason.
    """

    total: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misfits: tuple[str, ...]

    @property
    def matched(self) -> int:
        """Number of tensors of the model that were filled."""
        return self.total - len(self.missing) - len(self.misfits)

    @property
    def fills_model(self) -> bool:
        """Whether every tensor of the model was filled."""
        return self.matched == self.total

    def __str__(self) -> str:
        kinds = ('missing', self.missing), ('of another shape', self.misfits)
        parts = [f'{self.matched} of {self.total} tensors of the model match']
        parts += [f'{len(names)} {kind} ({_some(names)})' for kind, names in kinds if names]
        if self.unexpected:
            parts.append(f'{len(self.unexpected)} not in the model ({_some(self.unexpected)})')
        return ', '.join(parts)


def load_weights(
    model: nn.Module, state_dict: dict[str, torch.Tensor], allow_nonfinite: bool = False
) -> Fit:
    """Loads what fits of a state dict into a model and says how it went.

    torch does the loading, so names that a module maps while loading count as its own.

    Args:
        model: The model; wrappers for DDP and for test-time augmentation are looked through.
        state_dict: Names and tensors.
        allow_nonfinite: Whether NaN and infinity are loaded with a warning.

    Returns:
        The tensors that matched and those that did not. ``num_batches_tracked`` does not count:
        old checkpoints lack it and nothing is computed from it.

    Raises:
        UserError: A tensor holds what the model cannot compute with, as `checked_values` says.

    Example:
        >>> fit = load_weights(nn.Linear(2, 3), {'weight': torch.ones(3, 3)})
        >>> print(fit)
        0 of 2 tensors of the model match, 1 missing (bias), 1 of another shape (weight:
        checkpoint [3, 3], model [3, 2])
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    missing: list[str] = []
    unexpected: list[str] = []

    def record(_: nn.Module, keys: tuple[list[str], list[str]]) -> None:
        missing.extend(keys[0])
        unexpected.extend(keys[1])

    # torch raises for another shape without naming the keys; this hook sees them before.
    handle = model.register_load_state_dict_post_hook(record)
    misfits: list[str] = []
    try:
        with checked_values(model, allow_nonfinite):
            model.load_state_dict(state_dict, strict=False)
    except RuntimeError as error:
        misfits = [_misfit(line) for line in str(error).split('\n\t')[1:]]
    finally:
        handle.remove()
    total = [name for name in model.state_dict() if not _is_counter(name)]
    missing = [name for name in missing if not _is_counter(name)]
    return Fit(len(total), tuple(missing), tuple(unexpected), tuple(misfits))


def _is_counter(name: str) -> bool:
    return name.endswith('num_batches_tracked')


def _misfit(line: str) -> str:
    found = _SHAPES.search(line)
    return '{}: checkpoint {}, model {}'.format(*found.groups()) if found else line


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:_EXAMPLES]) + (', ...' if len(names) > _EXAMPLES else '')
