"""Arguments of the nets whose papers include the classifier."""

from __future__ import annotations

from collections.abc import Sequence


def outputs_with_classifier(
    num_classes: int, out_indices: int | Sequence[int] | None, maps: int | Sequence[int]
) -> int | Sequence[int]:
    """Gives the outputs of a net whose ``out_indices`` may be left out.

    Args:
        num_classes: Classes of the classifier; -1 for a net without one.
        out_indices: What was asked for; None for the default.
        maps: The default of a net without classifier. With one, the logits are enough.

    Returns:
        What BaseBackbone takes as ``out_indices``.

    Raises:
        ValueError: ``num_classes`` is neither -1 nor a number of classes.

    Example:
        >>> outputs_with_classifier(-1, None, (1, 2)), outputs_with_classifier(10, None, (1, 2))
        ((1, 2), ())
    """
    is_int = isinstance(num_classes, int) and not isinstance(num_classes, bool)
    if not is_int or (num_classes < 1 and num_classes != -1):
        raise ValueError(
            f'num_classes={num_classes!r}: must be an int > 0, or -1 for no classifier'
        )
    if out_indices is not None:
        return out_indices
    return () if num_classes > 0 else maps
