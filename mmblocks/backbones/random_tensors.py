"""Which tensors of a net are still random when it is trained."""

from __future__ import annotations

from torch import Tensor, nn

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
        self._unfilled: set[str] | None = None

    @property
    def were_asked_for(self) -> bool:
        """Whether `names` was called."""
        return self._unfilled is not None

    def names(self, net: nn.Module) -> list[str]:
        """Names the random tensors, but for BatchNorm's counters.

        What was written before the first call came from weights, what is written later comes from
        training: ask first when training starts.

        Args:
            net: The net.
        """
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


def _is_trained(name: str, changed: set[str]) -> bool:
    """Returns whether a norm was trained, which writes its statistics uncounted, or not at all."""
    norm, _, leaf = name.rpartition('.')
    return leaf in _STATISTICS and not changed.isdisjoint((f'{norm}.weight', f'{norm}.{_COUNTER}'))


def _states(net: nn.Module) -> dict[str, _State]:
    """Returns of each tensor what changes when it is replaced or written to."""
    return {
        name: (id(value), -1 if value.is_inference() else value._version)
        for name, value in net.state_dict(keep_vars=True).items()
        # On the meta device there is nothing to be random.
        if isinstance(value, Tensor) and not value.is_meta
    }
