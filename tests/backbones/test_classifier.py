"""Nets whose papers include the classifier: what ``num_classes`` promises, for every one."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.testing import assert_close

import mmblocks
from mmblocks.weights.convert import convert_weights
from tests.backbones.nets import NETS, build, every_net
from tests.backbones.nets import images as any_images
from tests.parity import randomise

every_classifier = pytest.mark.parametrize(
    'net', [net for net in NETS if net.has_classifier], ids=str
)


def images(net) -> torch.Tensor:
    """Images that the classifier takes."""
    return any_images(net, net.classifies, net.classifies)


@every_classifier
def test_the_logits_are_the_last_output(net):
    with torch.device('meta'):
        backbone = build(net, num_classes=5).eval()
        (logits,) = backbone(images(net))
    assert logits.shape == (2, 5)
    assert backbone.out_indices == backbone.out_channels == backbone.out_strides == ()


@every_classifier
def test_maps_come_before_the_logits_and_are_those_of_the_net_without_classifier(net):
    wanted = (0, net.num_outputs - 1)
    backbone = randomise(build(net, num_classes=5, out_indices=wanted)).eval()
    plain = build(net, out_indices=wanted).eval()
    missing, unexpected = plain.load_state_dict(backbone.state_dict(), strict=False)
    assert missing == unexpected == [], 'a classifier that is not there needs no weights'
    x = images(net)
    *maps, logits = backbone(x)
    assert logits.shape == (2, 5)
    assert_close(tuple(maps), plain(x))
    assert backbone.out_channels == plain.out_channels
    assert len(maps) == len(plain.out_indices)


@every_classifier
@pytest.mark.parametrize('wrong', [0, -2, True, 2.5, None])
def test_a_number_of_classes_that_cannot_be_is_an_error(net, wrong):
    with torch.device('meta'), pytest.raises(ValueError, match='num_classes='):
        build(net, num_classes=wrong)


@every_classifier
def test_everything_learns_but_what_is_frozen(net):
    for frozen_stages in (-1, 1):
        with torch.device('meta'):  # which values gradients have does not matter
            backbone = build(net, num_classes=5, frozen_stages=frozen_stages, with_cp=True)
            sum(out.square().mean() for out in backbone.train()(images(net))).backward()
        trainable = {n: p for n, p in backbone.named_parameters() if p.requires_grad}
        assert [name for name, p in trainable.items() if p.grad is None] == []
        everything = len(list(backbone.parameters()))
        assert (len(trainable) < everything) == (frozen_stages >= 0)


@every_classifier
def test_default_weights_give_logits_of_a_useful_size(net):
    backbone = build(net, num_classes=5)
    backbone.init_weights()
    with torch.no_grad():
        (logits,) = backbone.eval()(images(net))
    assert logits.isfinite().all()
    assert 1e-4 < logits.std() < 100


@pytest.fixture(scope='module')
def classifiers(peer):
    """mmpretrain's registry of models and its data sample."""
    models = peer('mmpretrain.registry').MODELS
    peer('mmpretrain.models')
    return models, peer('mmpretrain.structures').DataSample


def assert_it_classifies(classifiers, pictures, **parts) -> nn.Module:
    """Checks that an ImageClassifier trains a step and predicts; returns it."""
    models, sample_class = classifiers
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = models.build(dict(type='ImageClassifier', **parts))
    samples = [sample_class().set_gt_label(label) for label in (0, 2)]
    model.train()
    loss = model(pictures, samples, mode='loss')['loss']
    loss.backward()
    assert loss.isfinite()
    assert next(model.backbone.parameters()).grad.abs().sum() > 0
    model.eval()
    predictions = model(pictures, samples, mode='predict')
    assert [p.pred_score.shape for p in predictions] == [(3,), (3,)]
    return model


@every_classifier
def test_it_is_a_whole_classifier_in_mmpretrain(net, classifiers):
    backbone = dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}', num_classes=3)
    head = dict(type='ClsHead')
    assert_it_classifies(classifiers, images(net), backbone=backbone, head=head)


@every_net
@pytest.mark.parametrize('options', [dict(), dict(out_indices=(-1,))], ids=str)
def test_its_maps_can_be_classified_in_mmpretrain(net, options, classifiers):
    cfg = dict(net.cfg, **options)
    model = assert_it_classifies(
        classifiers,
        any_images(net),
        backbone=dict(cfg, type=f'mmblocks.{cfg["type"]}'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=3,
            in_channels=mmblocks.feature_info(cfg)[-1].channels,
        ),
    )
    assert model.head.fc.weight.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in model.backbone.parameters())


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
