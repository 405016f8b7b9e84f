"""Rounding of channel numbers."""

from __future__ import annotations


def make_divisible(
    value: float, divisor: int = 8, min_value: int | None = None, min_ratio: float = 0.9
) -> int:
    """Rounds a channel number to a multiple of ``divisor``, as the MobileNet papers' code does.

    Args:
        value: Wanted number of channels.
        divisor: What the result is a multiple of.
        min_value: Smallest result; ``divisor`` if left out.
        min_ratio: The result is never below this share of ``value``: the next multiple up is
            taken then.

    Returns:
        The number of channels.

    Example:
        >>> make_divisible(16 * 0.5), make_divisible(24 * 1.3, 4), make_divisible(11, 8)
        (8, 32, 16)
    """
    rounded = max(min_value or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= min_ratio * value else rounded + divisor
