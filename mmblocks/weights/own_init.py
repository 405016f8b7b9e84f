"""Layers that start in a way of their own, whatever the initialisation config of the net says."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

Kept = list[tuple[nn.Parameter, Tensor]]


def own_values(net: nn.Module) -> Kept:
    """Copies what layers of foreign classes have set while they were built.

    A config of ``layer='Conv2d'`` draws the convolutions inside such a layer, too, as those of a
    deformable convolution's offsets, which have to start at zero.

    Args:
        net: The net, before its config is applied.

    Returns:
        Parameters and their values: of layers that have no ``init_weights`` to be asked again, and
        are no more than MMEngine's or PyTorch's own; ``weight`` and ``bias`` that such a layer has
        from PyTorch's class are left to the config.
    """
    return [
        (parameter, parameter.detach().clone())
        for module in net.modules()
        if _is_foreign(module) and not hasattr(module, 'init_weights')
        for parameter in _added_parameters(module)
        if not parameter.is_meta
    ]


@torch.no_grad()
def start_own_layers(net: nn.Module, kept: Kept) -> None:
    """Lets layers start as they want to, behind the config of the net around them.

    MMEngine asks the children of its own modules only, and so none within a ConvModule.

    Args:
        net: The net, behind its config.
        kept: What `own_values` gave.
    """
    for module in net.modules():
        is_asked = module is net or getattr(module, 'is_init', False)
        init_weights = getattr(module, 'init_weights', None)
        if init_weights is not None and not is_asked:
            init_weights()
    for parameter, value in kept:
        parameter.copy_(value)


def _is_foreign(module: nn.Module) -> bool:
    return not isinstance(module, BaseModule) and not _is_pytorch(type(module))


def _is_pytorch(cls: type) -> bool:
    return cls.__module__.startswith('torch.nn.') and cls is not nn.Module


def _added_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    has_pytorch_form = any(map(_is_pytorch, type(module).__mro__))
    for name, parameter in module.named_parameters():
        if not (has_pytorch_form and name in ('weight', 'bias')):
            yield parameter
