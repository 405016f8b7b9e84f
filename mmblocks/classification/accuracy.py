"""The share of pictures that are given their own class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


@METRICS.register_module()
class Top1Accuracy(BaseMetric):
    """Per cent of the pictures whose predicted class is the right one.

    Args:
        collect_device: ``'cpu'`` or ``'gpu'``: where several processes exchange results.
        prefix: What stands before the metric's name, and a slash.

    Example:
        >>> metric = Top1Accuracy()
        >>> metric.process({}, [dict(label=3, pred_label=3), dict(label=3, pred_label=8)])
        >>> metric.evaluate(size=2)
        {'accuracy/top1': 50.0}
    """

    default_prefix = 'accuracy'

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Notes for each picture whether its class was found.

        Args:
            data_batch: Not needed.
            data_samples: What the model predicted: ``label`` and ``pred_label`` of each picture.
        """
        self.results += [sample['label'] == sample['pred_label'] for sample in data_samples]

    def compute_metrics(self, results: list[bool]) -> dict[str, float]:
        """Returns ``top1``, in per cent.

        Args:
            results: Whether each picture's class was found.
        """
        return dict(top1=100 * sum(results) / len(results))
