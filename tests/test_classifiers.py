"""Our backbones inside mmpretrain's ImageClassifier, for pre-training on classes."""

import pytest
import torch
from mmengine.registry import DefaultScope

import mmblocks
from tests.backbones.nets import NETS


@pytest.fixture(scope='module')
def classifiers(peer):
    """mmpretrain's registry of models and its data sample."""
    models = peer('mmpretrain.registry').MODELS
    peer('mmpretrain.models')
    return models, peer('mmpretrain.structures').DataSample


@pytest.mark.parametrize('net', NETS, ids=str)
def test_it_trains_a_step_as_a_classifier(net, classifiers):
    models, sample_class = classifiers
    cfg = dict(
        type='ImageClassifier',
        backbone=dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=3,
            in_channels=mmblocks.feature_info(net.cfg)[-1].channels,
        ),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = models.build(cfg)
    model.train()
    pictures = torch.rand(2, net.in_channels, 64, 64)
    samples = [sample_class().set_gt_label(label) for label in (0, 2)]
    losses = model(pictures, samples, mode='loss')
    losses['loss'].backward()
    assert losses['loss'].isfinite()
    assert model.head.fc.weight.grad.abs().sum() > 0
    grads = [p.grad for p in model.backbone.parameters()]
    assert all(grad is not None for grad in grads)
    assert grads[0].abs().sum() > 0
    predictions = model.eval()(pictures, samples, mode='predict')
    assert [p.pred_score.shape for p in predictions] == [(3,), (3,)]
