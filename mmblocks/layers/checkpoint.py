"""Activation checkpointing that leaves BatchNorm's running statistics right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def checkpoint_block(block: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Runs the modules in order, keeping only ``x`` for the backward pass.

    Non-reentrant, so inputs without gradient, frozen parameters and DDP are fine. The modules
    run a second time during backward; BatchNorm's buffers move in the first run only. Where
    nothing needs a gradient the modules just run.

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

    needs_grad = x.requires_grad or any(p.requires_grad for m in block for p in m.parameters())
    if not (torch.is_grad_enabled() and needs_grad):
        return run(x)
    if torch.compiler.is_compiling():
        # The compiler records buffer updates in the forward graph only, and takes no context_fn.
        return checkpoint(run, x, use_reentrant=False)
    return checkpoint(run, x, use_reentrant=False, context_fn=_contexts_for(block))


def _contexts_for(
    block: Sequence[nn.Module],
) -> Callable[[], tuple[AbstractContextManager, AbstractContextManager]]:
    return lambda: (nullcontext(), _norm_buffers_held(block))


@contextmanager
def _norm_buffers_held(block: Sequence[nn.Module]) -> Iterator[None]:
    # The second run writes to copies. Switching the update off instead would change what the
    # norm saves for backward, which checkpoint() compares between the runs.
    held = [
        (norm, dict(norm._buffers))
        for module in block
        for norm in module.modules()
        if isinstance(norm, _NormBase) and norm.training and norm.track_running_stats
    ]
    for norm, buffers in held:
        norm._buffers.update({name: buffer.clone() for name, buffer in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in held:
            norm._buffers.update(buffers)
