"""The shapes of what goes in and out of every module of a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmblocks.utils.probe import blank_copy, run_on_meta_or_cpu, skip_batch_norms

# Channels, height and width of input and output, by the module's name.
Shapes = dict[str, tuple[torch.Size, torch.Size]]


def module_shapes(net: nn.Module, image_size: int = 224) -> Shapes:
    """Returns the shapes of every module's input and output, from a run on the meta device.

    Args:
        net: The backbone; it is not changed.
        image_size: Height and width of the image, in pixels.

    Returns:
        Channels, height and width by the name of the module; of modules from one tensor to one
        tensor.
    """
    return run_on_meta_or_cpu(lambda device: _shapes(net, image_size, device))


@torch.no_grad()
def _shapes(net: nn.Module, image_size: int, device: str) -> Shapes:
    twin: Any = skip_batch_norms(
        blank_copy(net, device)
    )  # a backbone, whose class stands above this room
    # Blocks that are recomputed one by one leave the modules around them out.
    twin.with_cp = False
    shapes: Shapes = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                shapes[name] = (args[0].shape[1:], output.shape[1:])

        return hook

    for name, module in twin.named_modules():
        if name:
            module.register_forward_hook(note(name))
    channels = next(m.in_channels for m in twin.modules() if hasattr(m, 'in_channels'))
    x = torch.empty(1, channels, image_size, image_size, device=device)
    for i in range(twin.num_groups):
        x = twin.run_group(i, x)
    return shapes
