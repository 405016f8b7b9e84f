"""Handwritten digit samples and their split into training and validation parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = ('train', 'val')
VAL_FRACTION = 0.25


class Handwriting(NamedTuple):
    """Handwritten samples: ``images`` (N, 8, 8) in 0..1 and the ``digits`` (N,) they show."""

    images: NDArray[Any]
    digits: NDArray[Any]


def load_handwriting() -> Handwriting:
    """Loads the 1,797 handwritten digits of 8x8 pixels that scikit-learn carries with it.

    Returns:
        The samples in scikit-learn's order.

    Raises:
        ImportError: If scikit-learn is not installed.

    Example:
        >>> load_handwriting().images.shape
        (1797, 8, 8)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'the digits data set is drawn from the handwriting that scikit-learn carries, and '
            "scikit-learn is not installed; install it with: pip install 'mmblocks[demo]'"
        ) from error
    bunch = load_digits()
    return Handwriting((bunch.images / 16.0).astype(np.float32), bunch.target.astype(np.int64))


def split_samples(
    labels: NDArray[Any], digits: Sequence[int], split: str, seed: int
) -> dict[int, NDArray[Any]]:
    """Returns the samples of one split, the same share of every digit.

    The samples of a digit are split by a generator of its own, so that its training and
    validation samples stay the same whichever other digits are asked for.

    Args:
        labels: The digit that each sample shows, shape (N,).
        digits: The digits wanted.
        split: ``'train'`` or ``'val'``.
        seed: Seed of the split.

    Returns:
        For each digit the indices of its samples.

    Example:
        >>> labels = load_handwriting().digits
        >>> train = split_samples(labels, [3], 'train', seed=0)[3]
        >>> val = split_samples(labels, [3], 'val', seed=0)[3]
        >>> len(train), len(val), set(train) & set(val)
        (137, 46, set())
    """
    samples = {}
    for digit in digits:
        order = np.random.default_rng([seed, digit]).permutation(np.flatnonzero(labels == digit))
        cut = round(len(order) * VAL_FRACTION)
        samples[digit] = order[:cut] if split == 'val' else order[cut:]
    return samples
