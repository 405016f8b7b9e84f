"""A classifier that is a backbone and nothing more."""

from __future__ import annotations

from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor
from torch.nn import functional as F


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
        backbone: dict,
        label_smoothing: float = 0.0,
        aux_loss_weight: float = 0.3,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        if not getattr(self.backbone, 'has_classifier', False):
            raise ValueError(
                f'backbone={backbone}: has no classifier; give it num_classes, if it takes that'
            )
        self.label_smoothing = label_smoothing
        self.aux_loss_weight = aux_loss_weight

    def forward(
        self, inputs: Tensor, data_samples: Tensor | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[dict] | Tensor:
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
        if mode == 'loss':
            losses = dict(loss=self._loss(logits, data_samples))
            # In training, auxiliary classifiers put their logits before those that count.
            auxiliary = [out for out in outputs[:-1] if out.dim() == 2]
            for i, out in enumerate(auxiliary, 1):
                losses[f'aux{i}_loss'] = self.aux_loss_weight * self._loss(out, data_samples)
            return losses
        if mode == 'predict':
            return [
                dict(label=label.item(), pred_label=score.argmax().item(), pred_score=score)
                for label, score in zip(data_samples, logits.softmax(1).cpu(), strict=True)
            ]
        raise ValueError(f"mode={mode!r}: must be 'loss', 'predict' or 'tensor'")

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
