"""Colours of classes."""

from __future__ import annotations

import colorsys

_GOLDEN = 0.6180339887  # steps of hue that stay apart from each other, however many there are


def palette(number: int) -> list[tuple[int, int, int]]:
    """Returns colours that can be told apart, red, green and blue from 0 to 255.

    Args:
        number: How many.

    Example:
        >>> palette(2)
        [(242, 36, 36), (36, 89, 242)]
    """
    colours = []
    for i in range(number):
        value = (0.95, 0.7, 0.85)[i // 8 % 3]
        rgb = colorsys.hsv_to_rgb(i * _GOLDEN % 1, 0.85, value)
        red, green, blue = (round(255 * part) for part in rgb)
        colours.append((red, green, blue))
    return colours
