"""Gradients of a function that is computed once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def recomputed_gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor
) -> tuple[Tensor, ...]:
    """Returns the gradients of a function for its inputs, from that for its result.

    Args:
        function: Takes the inputs.
        inputs: Tensors of floating dtype.
        grad: Gradient for what it returns, of the same shape.

    Returns:
        A gradient per input, of its shape.

    Example:
        >>> recomputed_gradients(torch.mul, [torch.ones(2), torch.zeros(2)], torch.ones(2))
        (tensor([0., 0.]), tensor([1., 1.]))
    """
    # Unlike torch.autograd.grad, torch.compile traces it.
    result, pull_back = torch.func.vjp(function, *inputs)  # type: ignore[misc]  # no aux
    gradients: tuple[Tensor, ...] = pull_back(grad.to(result.dtype))
    return gradients


def add_gradients(
    function: Callable[..., Tensor], targets: list[tuple[Tensor, Tensor]], grad: Tensor
) -> None:
    """Adds the gradients of a function for some inputs to the tensors beside them.

    Args:
        function: Takes the inputs.
        targets: Inputs, each with the tensor that its gradient is added to.
        grad: Gradient for what the function returns.
    """
    gradients = recomputed_gradients(function, [value for value, _ in targets], grad)
    for (_, into), gradient in zip(targets, gradients, strict=True):
        into += gradient
