"""MobileNetV2's own: mmdet's signature, weights without a head, and bad arguments."""

import inspect

import pytest
import torch
from torch import nn

from mmblocks import MobileNetV2
from tests.parity import randomise


def test_the_default_gives_the_maps_of_mmdets_default():
    net = MobileNetV2()
    assert net.out_channels == (24, 32, 96, 1280)
    assert net.out_strides == (4, 8, 16, 32)


def test_the_signature_begins_as_mmdets(mmdet_models):
    theirs = inspect.signature(mmdet_models.get('mmdet.MobileNetV2').__init__).parameters
    ours = inspect.signature(MobileNetV2.__init__).parameters
    assert [(p.name, p.default) for p in ours.values()][: len(theirs)] == [
        (p.name, p.default) for p in theirs.values()
    ]


def test_foreign_weights_load_inside_a_detector_and_without_the_head(peer):
    theirs = peer('torchvision.models').mobilenet_v2(width_mult=0.25).state_dict()
    net = nn.ModuleDict(dict(backbone=MobileNetV2(0.25, out_indices=(1, 3))))
    state = {f'backbone.{key}': value for key, value in theirs.items()}
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == []
    unbuilt = {'layer5', 'layer6', 'layer7', 'conv2'}
    assert {key.split('.')[1] for key in result.unexpected_keys} == unbuilt


def test_pretrained_still_works_and_says_that_it_is_deprecated(tmp_path):
    source = randomise(MobileNetV2(0.25))
    path = str(tmp_path / 'weights.pth')
    torch.save(source.state_dict(), path)
    with pytest.warns(DeprecationWarning, match='init_cfg') as caught:
        net = MobileNetV2(0.25, pretrained=path)
    assert caught[0].filename == __file__
    net.init_weights()
    torch.testing.assert_close(dict(net.state_dict()), dict(source.state_dict()))
    with pytest.raises(ValueError, match='both'):
        MobileNetV2(pretrained=path, init_cfg=dict(type='Pretrained', checkpoint=path))
    with pytest.raises(TypeError, match='pretrained=7'):
        MobileNetV2(pretrained=7)


def test_init_cfg_reaches_every_convolution():
    net = MobileNetV2(0.25, init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))
    net.init_weights()
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 52
    assert all((conv.weight == 0.5).all() for conv in convs)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(widen_factor=0), 'widen_factor=0: .*above 0'),
        (dict(deepen_factor=-1), 'deepen_factor=-1: .*above 0'),
        (dict(output_stride=24), 'output_stride=24.*8, 16 or 32'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV2(**options)
