"""Classifying the handwritten digits with a backbone's own classifier, by MMEngine alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import mmcv
import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from mmblocks.digits.handwriting import load_handwriting
from mmblocks.utils.types import ConfigType

SPLITS = ('train', 'test')


@DATASETS.register_module()
class HandwrittenDigits(Dataset[dict[str, Any]]):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, enlarged.

    The halves are those of scikit-learn's own example: the first for training, the second for
    testing, in the order of the file, so that most hands of the one are not in the other.

    Args:
        split: ``'train'``, the first 898 samples, or ``'test'``, the other 899.
        size: Height and width of the pictures, in pixels.
        max_angle: Most degrees that a picture is turned by, either way, at random.
        max_zoom: Most that a picture is enlarged or reduced by, as a share of its size.
        max_shift: Most that a picture is moved by along each axis, as a share of its size.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: There is no such split.

    Example:
        >>> digits = HandwrittenDigits('test')
        >>> len(digits), digits[0]['inputs'].shape, digits[0]['data_samples']
        (899, torch.Size([1, 32, 32]), 8)
    """

    metainfo = dict(classes=tuple('0123456789'))

    def __init__(
        self,
        split: str = 'train',
        size: int = 32,
        max_angle: float = 0.0,
        max_zoom: float = 0.0,
        max_shift: float = 0.0,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split={split!r}: must be one of {list(SPLITS)}')
        images, labels = load_handwriting()
        half = len(images) // 2
        part = slice(half) if split == 'train' else slice(half, None)
        self.images: list[Any] = [mmcv.imresize(image, (size, size)) for image in images[part]]
        self.labels = labels[part].tolist()
        self.max_angle = max_angle
        self.max_zoom = max_zoom
        self.max_shift = max_shift

    def __len__(self) -> int:
        """Returns the number of pictures."""
        return len(self.images)

    def __getitem__(self, i: int) -> dict[str, Tensor | int]:
        """Returns a picture, (1, size, size) from 0, paper, to 1, ink, and its digit."""
        image = self._moved(self.images[i])
        return dict(inputs=torch.from_numpy(image)[None], data_samples=self.labels[i])

    def _moved(self, image: NDArray[Any]) -> NDArray[Any]:
        angle, zoom, *shift = np.random.uniform(-1, 1, 4)
        if self.max_angle or self.max_zoom:
            image = mmcv.imrotate(image, angle * self.max_angle, scale=1 + zoom * self.max_zoom)
        if self.max_shift:
            for share, direction in zip(shift, ('horizontal', 'vertical'), strict=True):
                pixels = share * self.max_shift * len(image)
                image = mmcv.imtranslate(image, pixels, direction)
        return image


@MODELS.register_module()
class BackboneClassifier(BaseModel):
    """Trains and runs a backbone that has its own classifier, with softmax cross-entropy.

    Args:
        backbone: Config of a backbone with ``num_classes``.
        label_smoothing: Share of the target that all classes have in common, 0 to 1.
        aux_loss_weight: Weight of the loss of each auxiliary classifier (GoogLeNet's).
        data_preprocessor: Config of what normalises the pictures; default: MMEngine's
            ``BaseDataPreprocessor``.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: The backbone has no classifier.

    Example:
        >>> import torch
        >>> model = BackboneClassifier(dict(type='mmblocks.LeNet5', num_classes=10))
        >>> pictures, labels = torch.rand(2, 1, 32, 32), torch.tensor([3, 8])
        >>> model(pictures, labels, mode='loss')['loss'].shape
        torch.Size([])
        >>> sorted(model(pictures, labels, mode='predict')[0])
        ['label', 'pred_label', 'pred_score']
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        label_smoothing: float = 0.0,
        aux_loss_weight: float = 0.3,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: ConfigType | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        if not getattr(self.backbone, 'has_classifier', False):
            raise ValueError(
                f'backbone={backbone}: has no classifier; give it num_classes, if it takes that'
            )
        self.label_smoothing = label_smoothing
        self.aux_loss_weight = aux_loss_weight

    def forward(  # type: ignore[override]  # MMEngine's hints know no tensors here
        self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[dict[str, Any]] | Tensor:
        """Returns losses, predictions or logits.

        Args:
            inputs: Pictures, (N, in_channels, H, W).
            data_samples: The class of each picture, (N,); not needed for ``'tensor'``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            ``'loss'``: the losses by name. ``'predict'``: for each picture a dict of ``label``,
            ``pred_label`` and ``pred_score``, the scores of all classes. ``'tensor'``: the
            logits, (N, num_classes).

        Raises:
            ValueError: ``mode`` is none of the three.
        """
        outputs = self.backbone(inputs)
        logits = outputs[-1]
        if mode == 'tensor':
            return logits
        labels = cast(Tensor, data_samples)  # which all other modes need
        if mode == 'loss':
            losses = dict(loss=self._loss(logits, labels))
            # In training, auxiliary classifiers put their logits before those that count.
            auxiliary = [out for out in outputs[:-1] if out.dim() == 2]
            for i, out in enumerate(auxiliary, 1):
                losses[f'aux{i}_loss'] = self.aux_loss_weight * self._loss(out, labels)
            return losses
        if mode == 'predict':
            return [
                dict(label=label.item(), pred_label=score.argmax().item(), pred_score=score)
                for label, score in zip(labels, logits.softmax(1).cpu(), strict=True)
            ]
        raise ValueError(f"mode={mode!r}: must be 'loss', 'predict' or 'tensor'")

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


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

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
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
