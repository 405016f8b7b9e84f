"""Fitting the first convolution of weights for RGB images to images of other channels."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_RGB = 3


def adapt_image_convs(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Replaces the weights of convolutions that take RGB images by ones that fit a module.

    Args:
        state: Weights under the module's names; those that do not fit are replaced.
        own: The module's own tensors.

    Returns:
        Whether there was anything to do.
    """
    adapted = False
    for name, wanted in own.items():
        given = state.get(name)
        if given is None or not takes_images(given.shape, wanted.shape):
            continue
        # Several pixels can lie behind one another in the channels, as in the Focus layer.
        pixels = given.shape[1] // _RGB
        state[name] = adapt_input(given, wanted.shape[1] // pixels)
        adapted = True
    return adapted


def takes_images(given: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether the sizes of two kernels differ in nothing but the channels of the images."""
    if len(given) != 4 or len(wanted) != 4:
        return False
    pixels, rest = divmod(given[1], _RGB)
    return (
        rest == 0
        and pixels in (1, 4)
        and given[1] != wanted[1]
        and wanted[1] % pixels == 0
        and (given[0], *given[2:]) == (wanted[0], *wanted[2:])
    )


def adapt_input(weight: Tensor, in_channels: int) -> Tensor:
    """Makes a kernel for RGB images one for images of other channels, as is usual.

    Args:
        weight: (out_channels, pixels * 3, height, width).
        in_channels: Channels of the images.

    Returns:
        (out_channels, pixels * in_channels, height, width): for one channel the sum over the
        three; for others the three in turn, scaled so that a grey image gives the same.

    Example:
        >>> import torch
        >>> adapt_input(torch.ones(8, 3, 7, 7), 4)[0, :, 0, 0]
        tensor([0.7500, 0.7500, 0.7500, 0.7500])
    """
    out_channels, _, *size = weight.shape
    weight = weight.reshape(out_channels, -1, _RGB, *size)
    if in_channels == 1:
        weight = weight.sum(2, keepdim=True)
    else:
        turns = [i % _RGB for i in range(in_channels)]
        weight = weight[:, :, turns] * (_RGB / in_channels)
    return weight.flatten(1, 2)
