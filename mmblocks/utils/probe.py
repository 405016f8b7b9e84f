"""What a layer makes of a map, seen before the net around it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

_T = TypeVar('_T')


class Probe(NamedTuple):
    """What a layer does with a map.

    Attributes:
        out_shape: Channels, height and width of its output; None if it runs neither on the meta
            device nor on the CPU, as some with compiled operators.
        in_place: Whether it writes into its input.
    """

    out_shape: tuple[int, ...] | None
    in_place: bool


def probe_layer(layer: nn.Module, in_shape: Sequence[int]) -> Probe:
    """Runs a copy of a layer once, on the meta device if it can.

    Args:
        layer: The layer; it is not changed.
        in_shape: Channels, height and width of its input.

    Returns:
        What it does with it.

    Raises:
        ValueError: It cannot take such a map, or its output is no map.

    Example:
        >>> probe_layer(nn.Conv2d(8, 4, 3, stride=2), (8, 9, 9))
        Probe(out_shape=(4, 4, 4), in_place=False)
    """
    try:
        return run_on_meta_or_cpu(lambda device: _probe(layer, in_shape, device))
    except Exception as error:
        if not _lacks_cpu_form(error):
            raise ValueError(f'it cannot take {as_size(in_shape)}: {error}') from error
    return Probe(None, any(getattr(module, 'inplace', False) for module in layer.modules()))


def run_on_meta_or_cpu(run: Callable[[str], _T]) -> _T:
    """Runs something on the meta device or, as compiled operators have no form there, the CPU.

    Args:
        run: Takes the device; on the CPU the random numbers that it draws are given back.

    Returns:
        What it returns.

    Example:
        >>> run_on_meta_or_cpu(lambda device: torch.zeros(2, device=device).device.type)
        'meta'
    """
    try:
        return run('meta')
    except Exception:
        with torch.random.fork_rng(devices=[]):
            return run('cpu')


def blank_copy(module: nn.Module, device: str) -> nn.Module:
    """Copies a module to a device in eval mode, with zeros in place of its numbers.

    Args:
        module: The module.
        device: 'meta' or 'cpu'.

    Example:
        >>> blank_copy(nn.Linear(1, 1), 'cpu').weight.item()
        0.0
    """
    twin = copy.deepcopy(module).to_empty(device=device)
    twin.eval()  # on a line of its own: not every layer's train() returns it
    if device != 'meta':
        with torch.no_grad():
            for tensor in twin.state_dict().values():
                tensor.zero_()
    return twin


def skip_batch_norms(module: nn.Module) -> nn.Module:
    """Lets the BatchNorms of a module return their input.

    They change no shape, and take half of the time of a run on the meta device.

    Args:
        module: A module that is run for its shapes alone.

    Returns:
        The same module.

    Example:
        >>> norm = skip_batch_norms(nn.BatchNorm2d(4))
        >>> norm(torch.ones(1, 4, 2, 2)).sum().item()
        16.0
    """
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.forward = _identity  # type: ignore[assignment]
    return module


def _identity(x: Tensor) -> Tensor:
    return x


@torch.inference_mode(False)  # in which tensors have no versions
@torch.no_grad()
def _probe(layer: nn.Module, in_shape: Sequence[int], device: str) -> Probe:
    twin = blank_copy(layer, device)
    for module in twin.modules():
        if isinstance(module, _DropoutNd):  # in eval mode, one that works in place does nothing
            module.train()
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
    layer.register_forward_pre_hook(_clone_input)


def _clone_input(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
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
