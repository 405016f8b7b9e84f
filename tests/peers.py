"""A net of ours and the same net of another library: building the other, reading its outputs."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn

from tests.parity import randomise

# The functions of torch.nn.init with which libraries draw weights.
DRAWING = (
    *('normal_', 'trunc_normal_', 'uniform_', 'kaiming_normal_', 'kaiming_uniform_'),
    *('xavier_normal_', 'xavier_uniform_'),
)


class Pair(NamedTuple):
    """A net of ours and the same net of another library.

    Attributes:
        cfg: Ours.
        library: Whose the other is.
        name: How the library builds it: a name, a class of OpenMMLab, or a function that takes
            the ``peer`` fixture.
        options: The builder's arguments.
        outputs: Where it has our outputs: which of its own they are, a pattern of the names of
            its modules that give them, or a function of the model and the images. Behind those
            of its modules come its logits where our config has ``num_classes``.
        size: Height and width of the images.
        gradients: Whether gradients and statistics are compared, too.
        rtol: How closely gradients agree.
        has_more: Whether the other net has layers behind our last output.
    """

    cfg: dict[str, Any]
    library: str
    name: str | Callable[..., nn.Module]
    options: dict[str, Any] = {}
    outputs: slice | str | Callable[[nn.Module, Tensor], list[Tensor]] = slice(None)
    size: tuple[int, int] = (33, 43)
    gradients: bool = False
    rtol: float = 1e-8
    has_more: bool = False

    def __str__(self) -> str:
        """Names the pair by the class and the library."""
        return f'{self.cfg["type"]}-{self.library}'

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.cfg.get('in_channels', 1 if self.cfg['type'] == 'LeNet5' else 3)


def build_peer(pair: Pair, peer, mmdet_models) -> nn.Module:
    """Builds the peer of a pair as its library initialises it."""
    if pair.library == 'mmdet':
        return mmdet_models.build(dict(pair.options, type=f'mmdet.{pair.name}'))
    if pair.library == 'mmpretrain':
        return getattr(peer('mmpretrain.models.backbones'), pair.name)(**pair.options)
    if pair.library == 'torchvision':
        return getattr(peer('torchvision.models'), pair.name)(**pair.options)
    if callable(pair.name):
        return pair.name(peer, **pair.options)
    return peer('timm').create_model(pair.name, **pair.options)


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Builds nets whose weights are whatever is in memory, since drawing them takes long."""
    with contextlib.ExitStack() as stack:
        for name in DRAWING:
            stack.enter_context(mock.patch.object(nn.init, name, lambda tensor, *_, **__: tensor))
        yield


@contextlib.contextmanager
def meta_device() -> Iterator[None]:
    """Builds nets on the meta device; OpenMMLab's read drop rates from a tensor meanwhile."""
    linspace = functools.partial(torch.linspace, device='cpu')
    with mock.patch('torch.linspace', linspace), undrawn(), torch.device('meta'):
        yield


def build_random_peer(pair: Pair, peer, mmdet_models) -> nn.Module:
    """Builds the peer of a pair, in eval mode, with weights and statistics that matter."""
    with undrawn():
        model = build_peer(pair, peer, mmdet_models)
    if 'num_classes' not in pair.cfg:
        model = without_wide_layers(model)
    randomise(model)
    model.eval()  # OpenMMLab's returns nothing
    return model


def without_wide_layers(model: nn.Module) -> nn.Module:
    """Takes off the classifiers that would make files of half a gigabyte."""
    for name in ('classifier', 'pre_logits', 'head'):
        if any(p.numel() > 3 * 10**6 for p in getattr(model, name, nn.Identity()).parameters()):
            setattr(model, name, nn.Identity())
    return model


def peer_outputs(pair: Pair, model: nn.Module, x: Tensor) -> list[Tensor]:
    """Returns what a peer gives where our net gives its outputs, logits included."""
    if isinstance(pair.outputs, slice):
        return list(model(x))[pair.outputs]
    if callable(pair.outputs):
        return pair.outputs(model, x)
    outputs, logits = module_outputs(model, pair.outputs, x)
    if 'num_classes' in pair.cfg:
        outputs += logits if isinstance(logits, tuple) else [logits]
    return outputs


def module_outputs(model: nn.Module, pattern: str, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Runs a net; returns the outputs of its modules of these names, and its own."""
    outputs = []
    handles = [
        # What follows may work in place.
        module.register_forward_hook(lambda module, args, output: outputs.append(output.clone()))
        for name, module in model.named_modules()
        if re.fullmatch(pattern, name)
    ]
    try:
        own = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return outputs, own
