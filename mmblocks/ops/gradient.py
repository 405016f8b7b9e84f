"""Gradients of a function that is computed once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def recomputed_gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor
) -> tuple[Tensor, ...]:
    """Give the gradients of a function for its inputs, from that for its result.

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
    with torch.enable_grad():
        inputs = [value.detach().requires_grad_() for value in inputs]
        result = function(*inputs)
        return torch.autograd.grad(result, inputs, grad.to(result.dtype), materialize_grads=True)
