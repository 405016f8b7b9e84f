"""ResNet's relatives and foreign keys: equal to torchvision, timm, mmpretrain, mmdet."""

import pytest
import torch
from mmengine.runner import load_state_dict
from torch import nn
from torch.testing import assert_close

from mmblocks import ResNet, ResNetV1c, ResNetV1d, ResNeXt, SEResNet
from tests.parity import assert_same_maps, gradients, randomise

LAYERS = {f'layer{i}': i for i in range(1, 5)}


def images(**kwargs):
    return torch.rand(2, 3, 65, 83, **kwargs)


def pair(ours, theirs):
    randomise(theirs)
    theirs.eval()
    result = ours.eval().load_state_dict(theirs.state_dict(), strict=False)
    assert result.missing_keys == []
    assert result.unexpected_keys == []
    return ours, theirs


def torchvision_maps(peer, model):
    getter = peer('torchvision.models._utils').IntermediateLayerGetter(model, LAYERS)
    return lambda x: list(getter(x).values())


def timm_maps(model):
    return lambda x: model.forward_intermediates(x, intermediates_only=True)[1:]


@pytest.mark.parametrize(
    ('name', 'depth', 'groups', 'base_width'),
    [
        ('resnext50_32x4d', 50, 32, 4),
        ('resnext101_32x8d', 101, 32, 8),
        ('resnext101_64x4d', 101, 64, 4),
    ],
)
def test_resnext_equals_torchvision(name, depth, groups, base_width, peer):
    theirs = getattr(peer('torchvision.models'), name)(num_classes=1)
    ours, theirs = pair(ResNeXt(depth, groups=groups, base_width=base_width), theirs)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), torchvision_maps(peer, theirs)(x))


@pytest.mark.parametrize('depth', [50, 101, 152])
@pytest.mark.parametrize(
    'options',
    [
        dict(groups=32, base_width=4),
        dict(),
        dict(
            groups=8,
            base_width=8,
            style='caffe',
            dcn=dict(type='DCNv2', deform_groups=1),
            stage_with_dcn=(False, False, True, True),
            plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv2')],
        ),
    ],
    ids=['32x4', 'plain', 'dcn-plugins'],
)
def test_resnext_equals_mmdet(depth, options, mmdet_models):
    options = dict(options, depth=depth, base_channels=16)
    ours, theirs = pair(
        ResNeXt(**options), mmdet_models.build(dict(type='mmdet.ResNeXt', **options))
    )
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


# timm's names for what mmpretrain calls by class and depth.
TIMM = {
    'resnet18': (ResNet, 18),
    'resnet34': (ResNet, 34),
    'resnet50': (ResNet, 50),
    'resnet101': (ResNet, 101),
    'resnet152': (ResNet, 152),
    'resnet50c': (ResNetV1c, 50),
    'resnet18d': (ResNetV1d, 18),
    'resnet50d': (ResNetV1d, 50),
    'seresnet18': (SEResNet, 18),
    'seresnet50': (SEResNet, 50),
}


@pytest.mark.parametrize('name', TIMM)
def test_it_equals_timm(name, peer):
    net, depth = TIMM[name]
    ours, theirs = pair(net(depth), peer('timm').create_model(name))
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs)(x))


MMPRETRAIN = {
    'ResNet': (ResNet, (18, 34, 50, 101, 152), {}, {}),
    'ResNetV1c': (ResNetV1c, (50, 101, 152), {}, {}),
    'ResNetV1d': (ResNetV1d, (50, 101, 152), {}, {}),
    'ResNeXt': (
        ResNeXt,
        (50, 101, 152),
        dict(groups=32, base_width=4),
        dict(groups=32, width_per_group=4),
    ),
    'SEResNet': (SEResNet, (50, 101, 152), {}, {}),
}


@pytest.mark.parametrize(
    ('name', 'depth'), [(name, d) for name, (_, depths, *_) in MMPRETRAIN.items() for d in depths]
)
def test_it_equals_mmpretrain(name, depth, peer):
    net, _, options, their_options = MMPRETRAIN[name]
    theirs = getattr(peer('mmpretrain.models.backbones'), name)(
        depth=depth, out_indices=(0, 1, 2, 3), **their_options
    )
    ours, theirs = pair(net(depth, **options), theirs)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


@pytest.mark.parametrize('name', ['ResNeXt', 'SEResNet', 'ResNetV1c'])
def test_gradients_equal_mmpretrains(name, peer):
    net, _, options, their_options = MMPRETRAIN[name]
    theirs = getattr(peer('mmpretrain.models.backbones'), name)(
        depth=50, out_indices=(0, 1, 2, 3), **their_options
    )
    ours, theirs = pair(net(50, **options, norm_eval=False), theirs)
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    for module in (ours, theirs):
        module.double().train()
    _, dx = gradients(ours, ours, x)
    _, their_dx = gradients(theirs, theirs, x)
    assert_close(dx, their_dx, rtol=1e-8, atol=1e-8 * their_dx.abs().max().item())


def detectron2_name(key):
    """What detectron2 calls a tensor of ours."""
    key = key.replace('downsample.0', 'shortcut').replace('downsample.1', 'shortcut.norm')
    for i in (1, 2, 3):
        key = key.replace(f'.bn{i}.', f'.conv{i}.norm.')
    key = key.replace('bn1.', 'conv1.norm.') if key.startswith('bn1') else key
    if key.startswith('layer'):
        return f'res{int(key[5]) + 1}{key[6:]}'
    return f'stem.{key}'


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
@pytest.mark.parametrize('depth', [18, 50])
def test_detectron2_keys_load_inside_a_detector(depth, load):
    source = randomise(ResNet(depth)).eval()
    state = {
        f'backbone.{detectron2_name(k)}': v
        for k, v in source.state_dict().items()
        if 'num_batches_tracked' not in k  # its frozen norms have none
    }
    assert 'backbone.stem.conv1.norm.weight' in state
    assert 'backbone.res2.0.conv2.norm.running_mean' in state
    model = nn.ModuleDict(dict(backbone=randomise(ResNet(depth), seed=1))).eval()
    load(model, state, strict=True)
    x = images()
    with torch.no_grad():
        assert_same_maps(model['backbone'](x), source(x))


def test_timms_legacy_weights_are_refused_with_the_reason(peer):
    theirs = peer('timm').create_model('legacy_seresnet50')
    with pytest.raises(ValueError, match=r'legacy.*max pool'):
        SEResNet(50).load_state_dict(theirs.state_dict(), strict=False)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: ResNeXt(18), r'depth=18.*\[50, 101, 152\]'),
        (lambda: ResNeXt(50, base_width=8), 'base_width=8.*groups=1'),
        (lambda: SEResNet(50, se_ratio=0), 'se_ratio=0'),
    ],
)
def test_a_bad_argument_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
