"""Trials: what a layer makes of a map, seen before the net around it runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd


class Probe(NamedTuple):
    """What a layer does with a map.

    Attributes:
        out_shape: Channels, height and width of what it gives; None if it runs neither without
            numbers nor on the CPU, as some with compiled operators.
        in_place: Whether it writes into the map that it is handed.
    """

    out_shape: tuple[int, ...] | None
    in_place: bool


def probe_layer(layer: nn.Module, in_shape: Sequence[int]) -> Probe:
    """Runs a copy of a layer once, without numbers if it can.

    Args:
        layer: The layer; it is not changed.
        in_shape: Channels, height and width of the maps that it shall take.

    Returns:
        What it does with them.

    Raises:
        ValueError: It cannot take them, or gives something else than maps.

    Example:
        >>> probe_layer(nn.Conv2d(8, 4, 3, stride=2), (8, 9, 9))
        Probe(out_shape=(4, 4, 4), in_place=False)
    """
    try:
        return _run(layer, in_shape, 'meta')
    except Exception:  # compiled operators have no form without numbers
        pass
    try:
        with torch.random.fork_rng(devices=[]):
            return _run(layer, in_shape, 'cpu')
    except Exception as error:
        if not _lacks_cpu_form(error):
            raise ValueError(f'it cannot take {as_size(in_shape)}: {error}') from error
    return Probe(None, any(getattr(module, 'inplace', False) for module in layer.modules()))


@torch.inference_mode(False)  # in which tensors have no versions
@torch.no_grad()
def _run(layer: nn.Module, in_shape: Sequence[int], device: str) -> Probe:
    twin = copy.deepcopy(layer).to_empty(device=device)
    twin.eval()
    for module in twin.modules():
        if isinstance(module, _DropoutNd):  # in eval mode, one that works in place does nothing
            module.train()
    if device != 'meta':
        for tensor in twin.state_dict().values():
            tensor.zero_()
    x = torch.zeros(1, *in_shape, device=device)
    # Whatever writes into a tensor or a view of it counts its version up.
    version = x._version
    out = twin(x)
    if not isinstance(out, Tensor):
        raise ValueError(f'it gives a {type(out).__name__}')
    return Probe(tuple(out.shape[1:]), x._version > version)


def _lacks_cpu_form(error: Exception) -> bool:
    if isinstance(error, NotImplementedError | ImportError | AssertionError):
        return True
    return any(word in str(error) for word in ('device', 'CUDA', 'cuda', 'compiled'))


def clone_input(layer: nn.Module) -> None:
    """Has a layer that works in place do so on a copy of its input, which others may read too.

    Args:
        layer: The layer; its keys stay.
    """
    layer.register_forward_pre_hook(_copy_input)


def _copy_input(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (args[0].clone(), *args[1:])


def as_size(shape: Sequence[int]) -> str:
    """Writes the shape of a map.

    Args:
        shape: Channels, height and width.

    Example:
        >>> as_size((64, 56, 56))
        '64x56x56'
    """
    return 'x'.join(map(str, shape))
