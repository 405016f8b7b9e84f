"""What the nets share whose papers include the classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import nn

from mmblocks.backbones.group import Classifier
from mmblocks.weights.key_mapping import KeyMapping


def outputs_with_classifier(
    num_classes: int, out_indices: int | Sequence[int] | None, maps: int | Sequence[int]
) -> int | Sequence[int]:
    """Returns the outputs of a net whose ``out_indices`` may be left out.

    Args:
        num_classes: Classes of the classifier; -1 for a net without one.
        out_indices: The argument; None for the default.
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


def optional_classifier(
    num_classes: int, make: Callable[..., dict[str, nn.Module]], **options: Any
) -> Classifier | None:
    """Returns what makes the classifier of a net, or None where there is to be none.

    Args:
        num_classes: Classes; -1 for no classifier.
        make: Makes its modules, by name and in running order, for input channels, ``num_classes``
            and the options.
        **options: The options.

    Example:
        >>> optional_classifier(-1, pooled_linear, name='fc')
        >>> list(optional_classifier(10, pooled_linear, name='fc')(512))
        ['avgpool', 'flatten', 'dropout', 'fc']
    """
    return partial(make, num_classes=num_classes, **options) if num_classes > 0 else None


def pooled_linear(
    in_channels: int, num_classes: int, name: str, drop_rate: float = 0.0
) -> dict[str, nn.Module]:
    """Returns the usual classifier: the mean over the last map, then a linear layer.

    Args:
        in_channels: Channels of the last map.
        num_classes: Classes.
        name: What the linear layer is called.
        drop_rate: Dropout rate of the means.
    """
    return {
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
