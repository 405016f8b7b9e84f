"""Activation checkpointing that leaves BatchNorm's running statistics right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def checkpoint_block(block: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Runs the modules in order, keeping only ``x`` for the backward pass.

    Args:
        block: Modules from one tensor to one tensor, recomputed together.
        x: Input of the first module, of any shape that it takes.

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

    return checkpoint_call(run, (x,), block)


def checkpoint_call(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], modules: Sequence[nn.Module]
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
        context_fn=lambda: (nullcontext(), _BuffersHeld(modules)),
    )


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
