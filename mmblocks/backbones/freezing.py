"""Freezing named modules of a net."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def freeze(net: nn.Module, names: Iterable[str]) -> None:
    """Puts modules into eval mode and takes their gradients away.

    Args:
        net: The net.
        names: Names of the modules in it.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
        >>> freeze(net, ['0'])
        >>> [parameter.requires_grad for parameter in net.parameters()]
        [False, False, True, True]
    """
    for name in names:
        net.get_submodule(name).eval()
    for parameter in parameters_of(net, names).values():
        if parameter.requires_grad:
            parameter.requires_grad_(False)
            parameter.grad = None


def parameters_of(net: nn.Module, names: Iterable[str]) -> dict[str, nn.Parameter]:
    """Returns the parameters of modules by their names in the net.

    Args:
        net: The net.
        names: Names of the modules in it.
    """
    return {
        name: parameter
        for module in names
        for name, parameter in net.get_submodule(module).named_parameters(module)
    }
