"""Stochastic depth over the blocks of a net."""

from __future__ import annotations


def drop_path_rates(last: float, num_blocks: int) -> list[float]:
    """Returns the share of the samples that skip each block in training, which grows evenly from 0.

    Args:
        last: Share of the last block.
        num_blocks: Number of blocks of the whole net, those that are not built as well, so that
            the rates do not depend on the outputs.

    Example:
        >>> drop_path_rates(0.2, 3)
        [0.0, 0.1, 0.2]
    """
    return [last * i / max(num_blocks - 1, 1) for i in range(num_blocks)]
