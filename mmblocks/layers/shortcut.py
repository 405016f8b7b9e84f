"""The sum at the end of a residual block."""

from __future__ import annotations

from torch import Tensor, nn


def add_shortcut(
    out: Tensor, shortcut: Tensor, norm: nn.Module | None, position: nn.Module
) -> Tensor:
    """Adds a block's shortcut to what its last norm gives, written over that where it may be.

    Nothing else reads the output of a norm, and its gradient is computed from its input. A plugin
    at the last position, or a convolution layer of a config without norm, may keep its output, or
    need it for its gradient.

    Args:
        out: The output of the block's layers.
        shortcut: What is added, of the same shape.
        norm: The last norm in front of the sum, or what gives a tensor of its own as a norm does;
            None, or an identity, where there is none.
        position: The module at whose output plugins stand.

    Returns:
        The sum.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm2d(4)
        >>> out = norm(torch.rand(1, 4, 2, 2))
        >>> add_shortcut(out, torch.rand(1, 4, 2, 2), norm, position=norm) is out
        True
    """
    if norm is None or isinstance(norm, nn.Identity) or position._forward_hooks:
        return out + shortcut
    out += shortcut
    return out
