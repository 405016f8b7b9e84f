"""Activation checkpointing that leaves BatchNorm's running statistics right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

_CONVOLUTION = torch.ops.aten.convolution.default
_BATCH_NORM = torch.ops.aten.native_batch_norm.default
_IS_TRAINING = 5  # the position of this argument of it


def checkpoint_block(block: Sequence[nn.Module], x: Tensor, keep_convs: bool = False) -> Tensor:
    """Runs the modules in order, keeping only ``x`` for the backward pass.

    Args:
        block: Modules from one tensor to one tensor, recomputed together.
        x: Input of the first module, of any shape that it takes.
        keep_convs: Whether to keep the outputs of convolutions, too.

    Returns:
        The output of the last module.

    Example:
        >>> block = [nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)]
        >>> checkpoint_block(block, torch.rand(2, 3, 8, 8)).sum().backward()
        >>> int(block[1].num_batches_tracked)
        1
    """

    def run(x: Tensor) -> Tensor:
        for module in block:
            x = module(x)
        return x

    return checkpoint_call(run, (x,), block, keep_convs)


def checkpoint_call(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    modules: Sequence[nn.Module],
    keep_convs: bool = False,
) -> Tensor:
    """Calls a function, keeping only its inputs for the backward pass.

    Non-reentrant, so inputs without gradient, frozen parameters, DDP, several backward passes and
    gradients of gradients are fine. The function runs again in each backward pass; the buffers of
    modules in training mode, such as BatchNorm's statistics, move in the first run only. Where
    nothing needs a gradient the function is just called.

    Args:
        function: What to call.
        inputs: Its arguments.
        modules: Modules that hold all that runs in it, hooks and what they run included.
        keep_convs: Whether to keep the outputs of convolutions, too, which then do not run again;
            under the compiler they do.

    Returns:
        What the function returns.
    """
    needs_grad = any(x.requires_grad for x in inputs) or any(
        p.requires_grad for module in modules for p in module.parameters()
    )
    if not (torch.is_grad_enabled() and needs_grad):
        return function(*inputs)
    if torch.compiler.is_compiling():
        # The compiler records buffer updates in the forward graph only, and takes no context_fn.
        return checkpoint(function, *inputs, use_reentrant=False)
    return checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: _contexts(modules, keep_convs),
    )


def _contexts(
    modules: Sequence[nn.Module], keep_convs: bool
) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Returns what the first run is in, and what those in backward are in."""
    held = _BuffersHeld(modules)
    if not keep_convs:
        return nullcontext(), held
    kept = _ConvsKept()
    return kept, _ConvsTaken(kept, held)


class _BuffersHeld(AbstractContextManager[None]):
    """Lets modules in training mode write to copies of their buffers.

    Switching BatchNorm's update off instead would change what it saves for backward, which torch
    compares between the runs. A class, since torch enters it once for each backward pass, and a
    generator could be entered only once.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules
        self._held: list[tuple[nn.Module, dict[str, Tensor | None]]] = []

    def __enter__(self) -> None:
        self._held = [
            (inner, dict(inner._buffers))
            for module in self._modules
            for inner in module.modules()
            if inner.training and inner._buffers
        ]
        for module, buffers in self._held:
            module._buffers.update(
                {name: buffer.clone() for name, buffer in buffers.items() if buffer is not None}
            )

    def __exit__(self, *_: object) -> None:
        for module, buffers in self._held:
            module._buffers.update(buffers)


class _ConvsKept(TorchDispatchMode):
    """Keeps the outputs of convolutions, and the statistics that BatchNorms have used."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[tuple[Tensor, int]] = []
        self.statistics: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is _CONVOLUTION:
            # Its version tells whether what follows has written into it.
            self.outputs.append((_alias(out), out._version))
        elif func is _BATCH_NORM:
            self.statistics.append((out[1].detach(), out[2].detach()))
        return out


class _ConvsTaken(TorchDispatchMode):
    """Takes what is kept in place of computing it.

    torch's own selective checkpointing allows one backward pass only, and none where an activation
    has overwritten the output of a convolution, as in squeeze-and-excitations. Such a convolution
    runs again here.
    """

    def __init__(self, kept: _ConvsKept, held: _BuffersHeld) -> None:
        super().__init__()
        self._kept = kept
        self._held = held

    def __enter__(self) -> Any:
        self._held.__enter__()
        self._outputs = iter(self._kept.outputs)
        self._statistics = iter(self._kept.statistics)
        return super().__enter__()

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        self._held.__exit__(*args)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is _CONVOLUTION:
            out, version = next(self._outputs)
            if out._version == version:
                return out.detach()
        elif func is _BATCH_NORM:
            mean, inverse_deviation = next(self._statistics)
            if args[_IS_TRAINING]:
                # Where they are known, it is one pass over the map.
                x, weight, bias = args[:3]
                out = func(x, weight, bias, mean, inverse_deviation.pow(-2), False, 0.0, 0.0)
                return out[0], mean.detach(), inverse_deviation.detach()
        return func(*args, **(kwargs or {}))


def _alias(tensor: Tensor) -> Tensor:
    """Returns the tensor without its graph, but with its count of what is written into it."""
    # Within a dispatch mode detach() would start a count of its own. torch's checkpointing does so.
    with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.ADInplaceOrView, False):
        return tensor.detach()
