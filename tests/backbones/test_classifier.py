"""Nets whose papers include the classifier: what ``num_classes`` promises, for every one."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch.testing import assert_close

import mmblocks
from tests.backbones.nets import NETS
from tests.parity import randomise

every_classifier = pytest.mark.parametrize(
    'net', [net for net in NETS if net.has_classifier], ids=str
)


def build(net, **options) -> mmblocks.BaseBackbone:
    return MODELS.build(dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}', **options))


def images(net, **kwargs) -> torch.Tensor:
    return torch.rand(2, net.in_channels, net.classifies, net.classifies, **kwargs)


@every_classifier
def test_the_logits_are_the_last_output(net):
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
    with pytest.raises(ValueError, match='num_classes='):
        build(net, num_classes=wrong)


@every_classifier
def test_everything_learns_but_what_is_frozen(net):
    for frozen_stages in (-1, 1):
        backbone = build(net, num_classes=5, frozen_stages=frozen_stages, with_cp=True)
        randomise(backbone).train()
        sum(out.square().mean() for out in backbone(images(net))).backward()
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


def assert_it_classifies(net, peer, **parts):
    models, sample_class = peer('mmpretrain.registry').MODELS, peer('mmpretrain.structures')
    peer('mmpretrain.models')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = models.build(dict(type='ImageClassifier', **parts))
    samples = [sample_class.DataSample().set_gt_label(label) for label in (0, 2)]
    model.train()
    loss = model(images(net), samples, mode='loss')['loss']
    loss.backward()
    assert loss.isfinite()
    assert next(model.backbone.parameters()).grad.abs().sum() > 0
    model.eval()
    predictions = model(images(net), samples, mode='predict')
    assert [p.pred_score.shape for p in predictions] == [(3,), (3,)]


@every_classifier
def test_it_is_a_whole_classifier_in_mmpretrain(net, peer):
    backbone = dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}', num_classes=3)
    assert_it_classifies(net, peer, backbone=backbone, head=dict(type='ClsHead'))


@pytest.mark.parametrize('net', NETS, ids=str)
def test_its_maps_can_be_classified_in_mmpretrain(net, peer):
    backbone = dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}', out_indices=(-1,))
    (info,) = mmblocks.feature_info(backbone)
    assert_it_classifies(
        net,
        peer,
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=info.channels),
    )
