"""What the nets share whose papers include the classifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from mmblocks.backbones.group import Classifier
from mmblocks.weights.key_mapping import KeyMapping


def outputs_with_classifier(
    num_classes: int, out_indices: int | Sequence[int] | None, maps: int | Sequence[int]
) -> int | Sequence[int]:
    """Returns the outputs of a net whose ``out_indices`` may be left out.

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


def pooled_linear(name: str, num_classes: int, drop_rate: float = 0.0) -> Classifier | None:
    """Returns the usual classifier: the mean over the last map, then a linear layer.

    Args:
        name: What the linear layer is called.
        num_classes: Classes; -1 for no classifier.
        drop_rate: Share of the means that are zeroed in training.

    Returns:
        What makes its modules for a number of channels, by name and in running order.

    Example:
        >>> list(pooled_linear('fc', 10)(512))
        ['avgpool', 'flatten', 'dropout', 'fc']
    """
    if num_classes < 0:
        return None
    return lambda in_channels: {
        'avgpool': nn.AdaptiveAvgPool2d(1),
        'flatten': nn.Flatten(),
        'dropout': nn.Dropout(drop_rate),
        name: nn.Linear(in_channels, num_classes),
    }


def mmpretrain_classifier(pairs: Iterable[tuple[str, str]] = ()) -> KeyMapping:
    """Returns the mapping of mmpretrain's classifiers, whose last layer stands beside the backbone.

    For nets whose own classifier is one linear layer called ``classifier``, as the one of
    mmpretrain's ``LinearClsHead`` is called ``fc``.

    Args:
        pairs: Names here and within mmpretrain's backbone, where they differ.
    """
    inner = ((ours, f'backbone.{theirs}') for ours, theirs in pairs)
    return KeyMapping(
        'mmpretrain (ImageClassifier)',
        r'head\.fc\.',
        (*inner, ('', 'backbone'), ('classifier', 'head.fc')),
    )
