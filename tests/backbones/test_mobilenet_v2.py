"""MobileNetV2: equal to mmdet's, mmpretrain's, torchvision's and timm's."""

import inspect

import pytest
import torch
from torch import nn

from mmblocks import MobileNetV2
from tests.parity import assert_same_gradients, assert_same_maps, randomise


def images():
    return torch.rand(2, 3, 65, 83)


def ours_from(theirs, **options):
    net = MobileNetV2(**dict(out_indices=range(8)) | options).eval()
    assert net.load_state_dict(theirs.state_dict()).missing_keys == []
    return net


def mmdet_net(models, **options):
    theirs = randomise(models.build(dict(type='mmdet.MobileNetV2', **options)))
    theirs.eval()  # mmdet's eval() returns nothing
    return theirs


def torchvision_net(peer, **options):
    return randomise(peer('torchvision.models').mobilenet_v2(num_classes=2, **options)).eval()


def torchvision_maps(model, x):
    """What stands at the end of each of the paper's stages, and the last convolution."""
    maps = []
    for i, layer in enumerate(model.features):
        x = layer(x)
        if i in (1, 3, 6, 10, 13, 16, 17, 18):
            maps.append(x)
    return maps


def timm_net(peer, name, **options):
    return randomise(peer('timm').create_model(name, num_classes=2, **options)).eval()


def timm_maps(model, x):
    x = model.bn1(model.conv_stem(x))
    maps = []
    for stage in model.blocks:
        x = stage(x)
        maps.append(x)
    return [*maps, model.bn2(model.conv_head(x))]


@pytest.mark.parametrize('widen_factor', [0.25, 0.5, 0.75, 1.0, 1.4])
def test_it_equals_mmdet(widen_factor, mmdet_models):
    options = dict(widen_factor=widen_factor, out_indices=range(8))
    theirs = mmdet_net(mmdet_models, **options)
    ours = MobileNetV2(**options).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


def test_by_default_it_gives_the_maps_of_mmdets_default(mmdet_models):
    theirs = mmdet_net(mmdet_models)
    ours = MobileNetV2().eval()
    ours.load_state_dict(theirs.state_dict())
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))
    assert ours.out_channels == (24, 32, 96, 1280)
    assert ours.out_strides == (4, 8, 16, 32)


def test_gradients_equal_mmdets(mmdet_models):
    theirs = mmdet_net(mmdet_models, widen_factor=0.25, out_indices=range(8))
    assert_same_gradients(ours_from(theirs, widen_factor=0.25), theirs, theirs, images())


def test_the_signature_begins_as_mmdets(mmdet_models):
    theirs = inspect.signature(mmdet_models.get('mmdet.MobileNetV2').__init__).parameters
    ours = inspect.signature(MobileNetV2.__init__).parameters
    assert [(p.name, p.default) for p in ours.values()][: len(theirs)] == [
        (p.name, p.default) for p in theirs.values()
    ]


@pytest.mark.parametrize('widen_factor', [0.5, 1.0, 1.4])
def test_it_equals_mmpretrain(widen_factor, peer):
    options = dict(widen_factor=widen_factor, out_indices=range(8))
    theirs = randomise(peer('mmpretrain.models.backbones').MobileNetV2(**options))
    theirs.eval()
    x = images()
    with torch.no_grad():
        assert_same_maps(ours_from(theirs, **options)(x), theirs(x))


def test_gradients_equal_mmpretrains(peer):
    options = dict(widen_factor=0.25, out_indices=range(8))
    theirs = randomise(peer('mmpretrain.models.backbones').MobileNetV2(**options))
    assert_same_gradients(ours_from(theirs, **options), theirs, theirs, images())


@pytest.mark.parametrize('widen_factor', [0.35, 0.75, 1.0, 1.3])
def test_it_equals_torchvision(widen_factor, peer):
    theirs = torchvision_net(peer, width_mult=widen_factor)
    x = images()
    with torch.no_grad():
        ours = ours_from(theirs, widen_factor=widen_factor)
        assert_same_maps(ours(x), torchvision_maps(theirs, x))


def test_gradients_equal_torchvisions(peer):
    theirs = torchvision_net(peer, width_mult=0.25)
    ours = ours_from(theirs, widen_factor=0.25)
    assert_same_gradients(ours, theirs, lambda x: torchvision_maps(theirs, x), images())


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('mobilenetv2_035', dict(widen_factor=0.35)),
        ('mobilenetv2_050', dict(widen_factor=0.5)),
        ('mobilenetv2_075', dict(widen_factor=0.75)),
        ('mobilenetv2_100', dict()),
        ('mobilenetv2_140', dict(widen_factor=1.4)),
        ('mobilenetv2_110d', dict(widen_factor=1.1, deepen_factor=1.2, fix_stem_head=True)),
        ('mobilenetv2_120d', dict(widen_factor=1.2, deepen_factor=1.4, fix_stem_head=True)),
    ],
)
def test_it_equals_timm(name, options, peer):
    theirs = timm_net(peer, name)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours_from(theirs, **options)(x), timm_maps(theirs, x))


@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilated_it_equals_timm(output_stride, peer):
    theirs = timm_net(peer, 'mobilenetv2_035', output_stride=output_stride)
    ours = ours_from(theirs, widen_factor=0.35, output_stride=output_stride)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))
    assert max(ours.out_strides) == output_stride


def test_gradients_equal_timms(peer):
    theirs = timm_net(peer, 'mobilenetv2_035')
    ours = ours_from(theirs, widen_factor=0.35)
    assert_same_gradients(ours, theirs, lambda x: timm_maps(theirs, x), images())


def test_foreign_weights_load_inside_a_detector_and_without_the_head(peer):
    theirs = torchvision_net(peer, width_mult=0.25).state_dict()
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
