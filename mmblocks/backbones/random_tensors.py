"""Which tensors of a net are still random when it is trained, and the warnings about them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_STATISTICS = ('running_mean', 'running_var')
_COUNTER = 'num_batches_tracked'
_State = tuple[int, int]


class RandomTensors:
    """Knows which tensors of a net neither weights have filled nor a training has changed.

    It goes by torch's count of the writes to each tensor, and reads no values, for which a GPU
    would have to be waited for. Of a net that was copied or unpickled it takes nothing for random.

    Args:
        net: The net, as it was initialised.
    """

    def __init__(self, net: nn.Module) -> None:
        self._states = _states(net)
        # What was written before a training starts came from weights, what later from training.
        self._unfilled: set[str] | None = None
        self._num_checked = 0

    def warn(
        self, net: nn.Module, groups: Mapping[str, Sequence[str]], num_frozen: int, norm_eval: bool
    ) -> None:
        """Warns, when a training starts or goes on, of what would stay random in it.

        Args:
            net: The net.
            groups: Names of the modules of each group, by the group's title.
            num_frozen: How many of the groups are frozen; each is looked at once.
            norm_eval: Whether the BatchNorms of the others stay in eval mode.
        """
        starts = self._unfilled is None
        # What is thawed and frozen again has been trained meanwhile, or not.
        self._num_checked = min(self._num_checked, num_frozen)
        if not starts and self._num_checked == num_frozen:
            return
        random = self._names(net)
        frozen = list(groups.items())[:num_frozen]
        if starts and norm_eval:
            _warn_of_norms(net, random, [part for _, parts in frozen for part in parts])
        _warn_of_groups(net, random, frozen[self._num_checked :], num_frozen - 1)
        self._num_checked = num_frozen

    def _names(self, net: nn.Module) -> list[str]:
        """Names the random tensors, but for BatchNorm's counters."""
        states = _states(net)
        changed = {name for name, state in states.items() if self._states.get(name) != state}
        if self._unfilled is None:
            self._unfilled, self._states, changed = states.keys() - changed, states, set()
        return [
            name
            for name in states
            if name in self._unfilled
            and name not in changed
            and not name.endswith(_COUNTER)
            and not _is_trained(name, changed)
        ]


def _warn_of_norms(net: nn.Module, random: Sequence[str], frozen: Sequence[str]) -> None:
    norms = [
        name
        for name, module in net.named_modules()
        if isinstance(module, _BatchNorm) and not _is_in(name, frozen)
    ]
    if norms and {name.rpartition('.')[0] for name in random}.issuperset(norms):
        print_log(
            f'{type(net).__name__} with norm_eval=True starts from random weights: its '
            f'{len(norms)} BatchNorms stay in eval mode and learn no statistics; write '
            'norm_eval=False, or give weights',
            logger='current',
            level=logging.WARNING,
        )


def _warn_of_groups(
    net: nn.Module,
    random: Sequence[str],
    groups: Sequence[tuple[str, Sequence[str]]],
    frozen_stages: int,
) -> None:
    found = []
    for title, parts in groups:
        if names := [name for name in random if _is_in(name, parts)]:
            found.append(f'{title} ({len(names)} tensors, {names[0]})')
    if found:
        print_log(
            f'{type(net).__name__} with frozen_stages={frozen_stages} freezes what no '
            f'checkpoint has filled, so it stays random: {", ".join(found)}',
            logger='current',
            level=logging.WARNING,
        )


def _is_in(name: str, modules: Sequence[str]) -> bool:
    return f'{name}.'.startswith(tuple(f'{module}.' for module in modules))


def _is_trained(name: str, changed: set[str]) -> bool:
    """Returns whether a norm was trained, which writes its statistics uncounted, or not at all."""
    norm, _, leaf = name.rpartition('.')
    return leaf in _STATISTICS and not changed.isdisjoint((f'{norm}.weight', f'{norm}.{_COUNTER}'))


def _states(net: nn.Module) -> dict[str, _State]:
    """Returns what changes of each tensor when it is replaced or written to."""
    return {
        name: (id(value), -1 if value.is_inference() else value._version)
        for name, value in net.state_dict(keep_vars=True).items()
        # On the meta device there is nothing to be random.
        if isinstance(value, Tensor) and not value.is_meta
    }
