"""Dense prediction: strides past a limit become dilations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class BlockStride(NamedTuple):
    """What a block does to the resolution.

    Attributes:
        stride: Stride of the block, in pixels of its input.
        dilation: Dilation of its convolution.
        total: Image pixels per pixel of its output.
    """

    stride: int
    dilation: int
    total: int


def limit_strides(
    strides: Iterable[int], output_stride: int, stem_stride: int = 2
) -> list[BlockStride]:
    """Turns the strides that would go past ``output_stride`` into dilations.

    As in DeepLab and timm: a block whose stride is taken away keeps its own dilation, and those
    behind it see the field of view that they had, by that much more dilation.

    Args:
        strides: Stride of each block behind the stem.
        output_stride: Most image pixels per pixel of any map: 8, 16, or 32 for no change.
        stem_stride: Image pixels per pixel of the stem's output.

    Returns:
        One entry per block.

    Raises:
        ValueError: ``output_stride`` is none of the three.

    Example:
        >>> [tuple(block) for block in limit_strides((2, 2, 2, 2, 1), output_stride=16)]
        [(2, 1, 4), (2, 1, 8), (2, 1, 16), (1, 1, 16), (1, 2, 16)]
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f'output_stride={output_stride!r}: must be 8, 16 or 32')
    blocks = []
    total, dilation = stem_stride, 1
    for stride in strides:
        if total * stride > output_stride:
            blocks.append(BlockStride(1, dilation, total))
            dilation *= stride
        else:
            total *= stride
            blocks.append(BlockStride(stride, dilation, total))
    return blocks
