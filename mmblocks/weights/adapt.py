"""Fitting the first convolution of weights for images of some channels to images of others."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

# A first kernel of more channels on both sides sees no images, as in a neck.
_MOST_CHANNELS = 4


def image_kernel(module: nn.Module, state: Mapping[str, Tensor]) -> str | None:
    """Returns the name of the kernel that sees the images, if it is for other channels.

    Args:
        module: A net, or any other module.
        state: Weights under the module's names.

    Returns:
        The first kernel of the module if the two differ in nothing but the channels of the input;
        else None.
    """
    own = module.state_dict()
    name = next((name for name, value in own.items() if value.dim() == 4), None)
    if name is None or name not in state or state[name].dim() != 4:
        return None
    given, wanted, pixels = state[name].shape, own[name].shape, _pixels(module, name)
    fits = given[0] == wanted[0] and given[2:] == wanted[2:] and given[1] % pixels == 0
    sees_images = min(given[1], wanted[1]) <= pixels * _MOST_CHANNELS
    return name if fits and sees_images and given[1] != wanted[1] else None


def adapt_image_kernel(module: nn.Module, state: dict[str, Tensor]) -> bool:
    """Replaces the weights of a net's first convolution by ones that fit its images.

    Args:
        module: The net.
        state: Weights under its names; changed in place.

    Returns:
        Whether there was anything to do.
    """
    name = image_kernel(module, state)
    if name is None:
        return False
    pixels = _pixels(module, name)
    in_channels = module.state_dict()[name].shape[1] // pixels
    state[name] = adapt_input(state[name], in_channels, pixels)
    return True


def _pixels(module: nn.Module, name: str) -> int:
    """Returns how many pixels lie behind one another in the channels, as in the Focus layer."""
    parts = name.split('.')
    parents = (module.get_submodule('.'.join(parts[:end])) for end in range(len(parts)))
    return max(getattr(parent, 'pixels_per_channel', 1) for parent in parents)


def adapt_input(weight: Tensor, in_channels: int, pixels: int = 1) -> Tensor:
    """Makes a kernel for images of some channels one for images of others, as is usual.

    Args:
        weight: (out_channels, pixels * channels, height, width).
        in_channels: Channels of the images.
        pixels: How many pixels lie behind one another in the channels.

    Returns:
        (out_channels, pixels * in_channels, height, width): for one channel the sum over those
        that there were; for others those in turn, scaled so that a grey image gives the same if
        none is left out.

    Example:
        >>> import torch
        >>> adapt_input(torch.ones(8, 3, 7, 7), 4)[0, :, 0, 0]
        tensor([0.7500, 0.7500, 0.7500, 0.7500])
    """
    weight = weight.unflatten(1, (pixels, -1))
    channels = weight.shape[2]
    if in_channels == 1:
        weight = weight.sum(2, keepdim=True)
    else:
        turns = [i % channels for i in range(in_channels)]
        weight = weight[:, :, turns] * (channels / in_channels)
    return weight.flatten(1, 2)
