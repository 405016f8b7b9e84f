"""Our backbones inside mmpretrain's ImageClassifier, for pre-training on classes."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch.testing import assert_close

import mmblocks
from mmblocks.weights.convert import convert_weights
from tests.backbones.nets import NETS
from tests.parity import randomise


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


@pytest.mark.parametrize(
    ('cfg', 'channels'),
    [
        (
            dict(type='DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=16)),
            32,
        ),
        (dict(type='EfficientNet', arch='b0'), 1280),
    ],
    ids=str,
)
def test_the_head_of_a_whole_classifier_is_found(cfg, channels, classifiers, tmp_path):
    models, _ = classifiers
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        theirs = models.build(
            dict(
                type='ImageClassifier',
                backbone=cfg,
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=3, in_channels=channels),
            )
        )
    randomise(theirs).eval()
    path = tmp_path / 'classifier.pth'
    torch.save(dict(state_dict=theirs.state_dict()), path)
    ours = MODELS.build(
        dict(
            cfg,
            type=f'mmblocks.{cfg["type"]}',
            num_classes=3,
            init_cfg=dict(type='Pretrained', checkpoint=str(path), min_match=1),
        )
    )
    ours.init_weights()
    pictures = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert_close(ours.eval()(pictures)[0], theirs(pictures))
    back = convert_weights(ours, str(path), 'mmpretrain', ['mmpretrain']).state_dict
    assert back.keys() == theirs.state_dict().keys()
