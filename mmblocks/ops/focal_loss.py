"""Focal losses in plain PyTorch, with gradients in closed form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmblocks.ops.precision import at_least_float32


def sigmoid_focal_loss(
    logits: Tensor, target: Tensor, weight: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    """`Focal loss <https://arxiv.org/abs/1708.02002>`_ of independent classes.

    Args:
        logits: Scores before the sigmoid, (N, classes).
        target: Class of each row, (N,) of int64; ``classes`` for background.
        weight: Weight of each class, (classes,), or None.
        gamma: How much less what is well told apart counts.
        alpha: Share of the class itself against the others, 0 to 1.

    Returns:
        (N, classes).

    Example:
        >>> sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([0]), None, gamma=2.0, alpha=0.25)
        tensor([[0.0433, 0.1300]])
    """
    dtype, logits = logits.dtype, at_least_float32(logits)
    is_class = _is_class(logits, target)
    p = logits.sigmoid()
    loss = torch.where(
        is_class,
        -alpha * (1 - p) ** gamma * F.logsigmoid(logits),
        -(1 - alpha) * p**gamma * F.logsigmoid(-logits),
    )
    loss = loss if weight is None else loss * _per_row(weight, target, logits.shape[1])
    return loss.to(dtype)


def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    """Returns the gradient of each entry of :func:`sigmoid_focal_loss` for its own logit.

    Args:
        logits: As there.
        target: As there.
        weight: As there.
        gamma: As there.
        alpha: As there.

    Returns:
        (N, classes).
    """
    dtype, logits = logits.dtype, at_least_float32(logits)
    is_class = _is_class(logits, target)
    p, log_p, log_q = logits.sigmoid(), F.logsigmoid(logits), F.logsigmoid(-logits)
    grad = torch.where(
        is_class,
        -alpha * (1 - p) ** gamma * (1 - p - gamma * p * log_p),
        -(1 - alpha) * p**gamma * (gamma * (1 - p) * log_q - p),
    )
    grad = grad if weight is None else grad * _per_row(weight, target, logits.shape[1])
    return grad.to(dtype)


def softmax_focal_loss(
    softmax: Tensor, target: Tensor, weight: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    """Focal loss of classes of which one holds.

    Args:
        softmax: Probabilities, (N, classes).
        target: Class of each row, (N,) of int64; a negative one gives no loss.
        weight: Weight of each class, (classes,), or None.
        gamma: How much less what is well told apart counts.
        alpha: Factor of the loss.

    Returns:
        (N,).

    Example:
        >>> softmax_focal_loss(torch.tensor([[0.5, 0.5]]), torch.tensor([1]), None, 2.0, 1.0)
        tensor([0.1733])
    """
    dtype, softmax = softmax.dtype, at_least_float32(softmax)
    p, log_p = _of_target(softmax, target)
    loss = -alpha * (1 - p) ** gamma * log_p * _share(weight, target, p)
    return loss.to(dtype)


def softmax_focal_loss_backward(
    softmax: Tensor, target: Tensor, weight: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    """Returns the gradient of :func:`softmax_focal_loss` for the logits behind the probabilities.

    Args:
        softmax: As there.
        target: As there.
        weight: As there.
        gamma: As there.
        alpha: As there.

    Returns:
        (N, classes).
    """
    dtype, softmax = softmax.dtype, at_least_float32(softmax)
    p, log_p = _of_target(softmax, target)
    by_p = alpha * (gamma * (1 - p) ** (gamma - 1) * p * log_p - (1 - p) ** gamma)
    by_p = by_p * _share(weight, target, p)
    grad = by_p[:, None] * (_is_class(softmax, target).to(softmax.dtype) - softmax)
    return grad.to(dtype)


def _is_class(logits: Tensor, target: Tensor) -> Tensor:
    return target[:, None] == torch.arange(logits.shape[1], device=logits.device)


def _per_row(weight: Tensor, target: Tensor, classes: int) -> Tensor:
    # mmcv's op reads the weight of the row's class; background has none, and reads past the end.
    return torch.where(target < classes, weight[target.clamp(max=classes - 1)], 1.0)[:, None]


def _of_target(softmax: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    p = softmax.gather(1, target.clamp(min=0)[:, None])[:, 0]
    return p, p.clamp(min=torch.finfo(p.dtype).tiny).log()


def _share(weight: Tensor | None, target: Tensor, like: Tensor) -> Tensor:
    held = (target >= 0).to(like.dtype)
    return held if weight is None else held * weight[target.clamp(min=0)]
