"""How a detector is put together, trained for a step and asked for a prediction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from torch import nn

SHAPES = ((3, 96, 96), (3, 90, 75))


def build_detector(cfg: Config, models) -> nn.Module:
    """Builds the model of a config as the Runner does, in the config's scope."""
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        return models.build(cfg.model)


def batch(num_classes: int, with_mask: bool = False, shapes: Sequence[tuple] = SHAPES) -> dict:
    """Generates images with boxes, and with masks if asked for, as a data loader gives them."""
    from mmdet.testing import demo_mm_inputs

    return demo_mm_inputs(
        len(shapes), list(map(list, shapes)), num_classes=num_classes, with_mask=with_mask
    )


def assert_it_trains(model: nn.Module, data: dict) -> None:
    """Runs a training step; checks that the loss is finite and reaches every parameter."""
    # The Runner counts iterations here, and YOLOX reads it.
    MessageHub.get_current_instance().update_info('iter', 0)
    model.train()
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, p in trainable.items() if p.grad is None] == []
    assert any(p.grad.any() for name, p in trainable.items() if 'backbone.' in name)


def assert_it_predicts(model: nn.Module, data: dict) -> None:
    """Checks that the detector gives a result with boxes for every image."""
    model.eval()
    with torch.no_grad():
        results = model(**model.data_preprocessor(data, training=False), mode='predict')
    assert len(results) == len(data['inputs'])
    for result in results:
        found = result.pred_instances
        assert found.bboxes.shape == (len(found.scores), 4)
        assert found.bboxes.isfinite().all()
