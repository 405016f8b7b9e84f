"""What a run of a net takes: time, bytes kept for backward, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

Run = Callable[[], Any]
_SHORT = 0.1  # seconds


class Spread(NamedTuple):
    """The middle half of measured values.

    Attributes:
        low: The first quartile.
        median: The median.
        high: The third quartile.
    """

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    """Returns median and quartiles.

    Example:
        >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
        Spread(low=2.0, median=3.0, high=4.0)
    """
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method='inclusive'))


def interleave(
    runs: Mapping[str, Run], rounds: int, after_round: Callable[[], None]
) -> dict[str, list[float]]:
    """Measures the seconds of several runs, all in turn.

    Args:
        runs: What to measure, by name.
        rounds: How often to measure each.
        after_round: Called after each round.

    Returns:
        The seconds of each round, by name; a round's are measured close together.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for _ in range(rounds):
        for name in names:
            taken = _seconds(runs[name])
            # A short one pays for the memory and caches that the run before it has left.
            seconds[name].append(_seconds(runs[name]) if taken < _SHORT else taken)
        names.append(names.pop(0))
        after_round()
    return seconds


def _seconds(run: Run) -> float:
    # On one thread the time that the process had the CPU, which leaves other processes' out.
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu or torch.get_num_threads() > 1 else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
    start = clock()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - start


def bytes_kept(model: nn.Module, x: Tensor) -> int:
    """Counts the bytes that a forward pass keeps for backward.

    They are those of all that it has made and that the graph of the last map's sum still holds,
    whether saved by autograd or kept by checkpointing.

    Args:
        model: The net.
        x: Images, (N, channels, H, W).

    Returns:
        The bytes of all storages, each counted once.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
        >>> bytes_kept(net, torch.rand(1, 3, 8, 8)) == 4 * 8 * 8 * 4
        True
    """
    with _Storages() as storages:
        *_, last = tensors_of(model(x))
        total = last.sum()
        del last
    kept = storages.bytes_alive() - total.untyped_storage().nbytes()
    return kept


class _Storages(TorchDispatchMode):
    """Notes the storages of all tensors that are made in it."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = {_address(tensor) for tensor in tensors_of((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for tensor in tensors_of(out):
            # A view, or what an operation in place gives, has the storage of an argument.
            if _address(tensor) not in before:
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self._sizes[reference.cdata] = (reference, storage.nbytes())
        return out

    def bytes_alive(self) -> int:
        """Counts the bytes of those that are not freed yet."""
        return sum(size for reference, size in self._sizes.values() if not reference.expired())


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def peak_bytes(run: Run) -> int:
    """Returns how many bytes a run has the GPU hold above what it held before."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return torch.cuda.max_memory_allocated() - before


class _Recorder(TorchDispatchMode):
    """Notes each call of a convolution, with empty tensors in place of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.name().startswith('aten::convolution'):
            self.calls.append((func, tree_map(_shape_of, args)))
        return func(*args, **(kwargs or {}))


def _shape_of(value: Any) -> Any:
    return value.detach().to('meta') if isinstance(value, Tensor) else value


def convolutions_of(run: Run, device: str) -> Run:
    """Returns a run of a net's convolutions alone, forward and backward, on random numbers.

    It is the floor of what the net can take in the same form.

    Args:
        run: A run of the net.
        device: Where to run them.
    """
    with _Recorder() as recorder:
        run()
    calls = [(func, tree_map(lambda value: _random(value, device), args))
             for func, args in recorder.calls]  # fmt: skip

    def run_convolutions() -> None:
        with torch.no_grad():
            for func, args in calls:
                func(*args)

    return run_convolutions


def _random(value: Any, device: str) -> Any:
    return torch.randn_like(value, device=device) if isinstance(value, Tensor) else value


def tensors_of(outputs: Any) -> Iterator[Tensor]:
    """Returns the maps among a net's outputs, whatever holds them."""
    return (value for value in tree_leaves(outputs) if isinstance(value, Tensor))
