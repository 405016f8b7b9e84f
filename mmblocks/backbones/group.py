"""The groups that a backbone is a chain of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import NamedTuple

# MMEngine's Sequential, since plain containers hide children's init_cfg from it.
from mmengine.model import Sequential
from torch import nn

# From the channels of the last map to the modules that make logits of it, by name.
Classifier = Callable[[int], dict[str, nn.Module]]


class Group(NamedTuple):
    """A link of a backbone's chain: the stem, or what lies between two possible outputs.

    Attributes:
        modules: Modules by the dotted name that they get in the backbone, in running order.
            Children of an ``nn.Sequential`` are blocks of their own for checkpointing; other
            neighbouring modules make one block together.
        channels: Channels of the group's output.
        stride: Input pixels per output pixel, counted from the image.
        is_output: Whether ``out_indices`` counts the group. Stems mostly are not counted.
    """

    modules: Mapping[str, nn.Module]
    channels: int
    stride: int
    is_output: bool = True


def blocks_of(modules: Iterable[nn.Module]) -> Iterator[list[nn.Module]]:
    """Cuts a group into the runs of modules that are each recomputed as one.

    Args:
        modules: The modules of the group, in running order.

    Example:
        >>> group = [nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Sequential(nn.Tanh(), nn.Tanh())]
        >>> [len(block) for block in blocks_of(group)]
        [2, 1, 1]
    """
    plain: list[nn.Module] = []
    for module in modules:
        if not isinstance(module, nn.Sequential):
            plain.append(module)
            continue
        if plain:
            yield plain
            plain = []
        for block in module:
            yield [block]
    if plain:
        yield plain


def add_modules(net: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Adds modules to a net under dotted names, making the containers that are not there.

    Args:
        net: The net.
        modules: Modules by name.

    Example:
        >>> net = nn.Module()
        >>> add_modules(net, {'features.0': nn.ReLU()})
        >>> [name for name, _ in net.named_modules()]
        ['', 'features', 'features.0']
    """
    for name, module in modules.items():
        *parents, leaf = name.split('.')
        parent = net
        for part in parents:
            if not hasattr(parent, part):
                parent.add_module(part, Sequential())
            parent = getattr(parent, part)
        parent.add_module(leaf, module)


def as_indices(value: int | Sequence[int]) -> tuple[int, ...]:
    """Returns ``out_indices`` as a tuple.

    Args:
        value: An int or ints, numpy's too.

    Raises:
        ValueError: It is neither.

    Example:
        >>> as_indices(3), as_indices([0, -1])
        ((3,), (0, -1))
    """
    try:
        values = tuple(value) if isinstance(value, Iterable) else (value,)
        if not any(isinstance(i, bool) for i in values):
            return tuple(map(index, values))
    except TypeError:
        pass
    raise ValueError(f'out_indices={value!r}: must be one or more ints')


def resolve_out_indices(
    out_indices: Sequence[int], num_outputs: int, net: str, may_be_empty: bool
) -> tuple[int, ...]:
    """Returns ``out_indices`` in order, counted from the start.

    Args:
        out_indices: Which outputs; negative ones count from the end.
        num_outputs: How many there can be.
        net: The net's name, for errors.
        may_be_empty: Whether there may be none.

    Raises:
        ValueError: One of them is not there or named twice, or there is none.

    Example:
        >>> resolve_out_indices((-1, 0), 4, 'ResNet', may_be_empty=False)
        (0, 3)
    """
    if not out_indices and not may_be_empty:
        raise ValueError(f'out_indices=() of {net}: must be one or more ints')
    for i in out_indices:
        if not -num_outputs <= i < num_outputs:
            raise ValueError(
                f'out_indices={out_indices} of {net}: there is no output {i}; '
                f'outputs are 0 to {num_outputs - 1} (or -{num_outputs} to -1 from the end)'
            )
    resolved = sorted(i % num_outputs for i in out_indices)
    if len(set(resolved)) != len(resolved):
        raise ValueError(f'out_indices={out_indices} of {net} names an output twice')
    return tuple(resolved)
