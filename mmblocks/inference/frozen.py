"""Frozen groups of a backbone in training, run in their inference form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmblocks.inference.folding import has_hooks
from mmblocks.inference.to_inference import to_inference
from mmblocks.utils.tracing import is_tracing


class FrozenForm:
    """The inference form of frozen groups, made when it is first run, and anew when they change.

    The groups themselves stay what is saved, loaded and unfrozen; their copy is no part of the
    net, and is neither copied nor pickled with it.

    Example:
        >>> groups = [[nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()], [nn.MaxPool2d(2)]]
        >>> for module in groups[0] + groups[1]:
        ...     _ = module.eval().requires_grad_(False)
        >>> [tuple(x.shape) for x in FrozenForm().run(groups, torch.rand(1, 3, 8, 8))]
        [(1, 4, 6, 6), (1, 4, 3, 3)]
    """

    def __init__(self) -> None:
        self._forms: list[nn.Sequential] = []
        self._made_of: list[tuple[Tensor, int, int]] = []

    def run(self, groups: Sequence[Sequence[nn.Module]], x: Tensor) -> list[Tensor]:
        """Runs the groups one after the other.

        Args:
            groups: The modules of each group, in running order.
            x: The images.

        Returns:
            The output of each group; nothing where the groups have to run as they are: where
            something is hooked to them or not frozen, or where the call is recorded.
        """
        modules = [part for group in groups for module in group for part in module.modules()]
        tensors = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values())]
        is_frozen = not any(t is not None and t.requires_grad for t in (x, *tensors))
        if not is_frozen or is_tracing() or any(m.training or has_hooks(m) for m in modules):
            return []
        state = [(t, t.data_ptr(), _version(t)) for t in tensors if t is not None]
        if len(self._forms) != len(groups) or not _is_same(state, self._made_of):
            self._forms = [to_inference(nn.Sequential(*group)) for group in groups]
            self._made_of = state
        outs = []
        with torch.no_grad():
            for form in self._forms:
                x = form(x)
                outs.append(x)
        return outs

    def drop(self) -> None:
        """Has the form made anew at the next run, for what changes tensors unseen."""
        self._forms, self._made_of = [], []

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenForm:
        return FrozenForm()

    def __reduce__(self) -> tuple[type[FrozenForm], tuple[()]]:
        return FrozenForm, ()


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _is_same(a: list[tuple[Tensor, int, int]], b: list[tuple[Tensor, int, int]]) -> bool:
    return len(a) == len(b) and all(
        x[0] is y[0] and x[1:] == y[1:] for x, y in zip(a, b, strict=True)
    )
