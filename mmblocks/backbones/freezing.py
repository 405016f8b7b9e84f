"""Freezing named modules of a net."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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


def frozen_summary(
    net: nn.Module, group_parts: Mapping[str, Sequence[str]], frozen_stages: int
) -> str:
    """Says in one line what is frozen and how many parameters are left to train.

    Args:
        net: The net.
        group_parts: Names of the modules of each group, by the group's title.
        frozen_stages: The last group that is frozen.
    """
    frozen = [title for title, parts in list(group_parts.items())[: frozen_stages + 1] if parts]
    total = sum(p.numel() for p in net.parameters())
    trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return (
        f'{type(net).__name__} with frozen_stages={frozen_stages}: '
        f'frozen are {", ".join(frozen) or "no groups"}; {trainable:,} of {total:,} '
        'parameters are trainable'
    )
