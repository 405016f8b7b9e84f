"""MobileNetV3: equal to mmpretrain's, torchvision's and timm's."""

import inspect

import pytest
import torch
from torch import nn

from mmblocks import MobileNetV3
from tests.parity import assert_same_gradients, assert_same_maps, randomise

# mmcv's HSigmoid, which mmpretrain's net uses, announces an old change of its defaults.
pytestmark = pytest.mark.filterwarnings('ignore:In MMCV v1.4.4:UserWarning')

NUM_OUTPUTS = {'small': 13, 'small_075': 13, 'small_050': 13, 'large': 17, 'large_075': 17}
TIMM_NORM = dict(type='BN')


def images():
    return torch.rand(2, 3, 65, 83)


def ours_from(theirs, arch, **options):
    net = MobileNetV3(arch, out_indices=range(NUM_OUTPUTS[arch]), **options).eval()
    assert net.load_state_dict(theirs.state_dict()).missing_keys == []
    return net


def mmpretrain_net(peer, arch):
    backbones = peer('mmpretrain.models.backbones')
    theirs = randomise(backbones.MobileNetV3(arch, out_indices=range(NUM_OUTPUTS[arch])))
    theirs.eval()  # mmpretrain's eval() returns nothing
    return theirs


def torchvision_net(peer, arch):
    build = getattr(peer('torchvision.models'), f'mobilenet_v3_{arch}')
    return randomise(build(num_classes=2)).eval()


def torchvision_maps(model, x):
    maps = []
    for layer in model.features:
        x = layer(x)
        maps.append(x)
    return maps


def timm_net(peer, arch, **options):
    name = arch if '_' in arch else f'{arch}_100'
    return randomise(peer('timm').create_model(f'mobilenetv3_{name}', **options)).eval()


def timm_maps(model, x):
    x = model.bn1(model.conv_stem(x))
    # In its classifiers the norm includes the activation.
    x = model.act1(x) if hasattr(model, 'act1') else x
    maps = [x]
    for stage in model.blocks:
        for block in stage:
            x = block(x)
            maps.append(x)
    return maps


@pytest.mark.parametrize('arch', ['small', 'small_075', 'small_050', 'large'])
def test_it_equals_mmpretrain(arch, peer):
    theirs = mmpretrain_net(peer, arch)
    ours = ours_from(theirs, arch)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


def test_gradients_equal_mmpretrains(peer):
    theirs = mmpretrain_net(peer, 'small_050')
    # mmcv's hard sigmoid divides by 6, torch's multiplies by a sixth that is rounded to float32.
    ours = ours_from(theirs, 'small_050')
    assert_same_gradients(ours, theirs, theirs, images(), rtol=1e-6)


def test_the_signature_begins_as_mmpretrains(peer):
    theirs = inspect.signature(peer('mmpretrain.models.backbones').MobileNetV3).parameters
    ours = inspect.signature(MobileNetV3).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    # The default of init_cfg stands in the base, as for every net.
    assert all(ours[name].default == theirs[name].default for name in theirs if name != 'init_cfg')


@pytest.mark.parametrize('arch', ['small', 'large'])
def test_it_equals_torchvision(arch, peer):
    theirs = torchvision_net(peer, arch)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours_from(theirs, arch)(x), torchvision_maps(theirs, x))


def test_gradients_equal_torchvisions(peer):
    theirs = torchvision_net(peer, 'small')
    ours = ours_from(theirs, 'small')
    assert_same_gradients(ours, theirs, lambda x: torchvision_maps(theirs, x), images())


@pytest.mark.parametrize('arch', NUM_OUTPUTS)
def test_it_equals_timm(arch, peer):
    theirs = timm_net(peer, arch)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours_from(theirs, arch, norm_cfg=TIMM_NORM)(x), timm_maps(theirs, x))


@pytest.mark.parametrize('arch', ['small_050', 'large'])
@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilated_it_equals_timm(arch, output_stride, peer):
    theirs = timm_net(peer, arch, features_only=True, output_stride=output_stride)
    ours = ours_from(theirs, arch, norm_cfg=TIMM_NORM, output_stride=output_stride)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))
    assert max(ours.out_strides) == output_stride


def test_gradients_equal_timms(peer):
    theirs = timm_net(peer, 'small_050')
    ours = ours_from(theirs, 'small_050', norm_cfg=TIMM_NORM)
    assert_same_gradients(ours, theirs, lambda x: timm_maps(theirs, x), images())


@pytest.mark.parametrize(
    ('arch', 'indices', 'channels'),
    [
        ('small', (1, 3, 8, 12), (16, 24, 48, 576)),
        ('small_075', (1, 3, 8, 12), (16, 24, 40, 432)),
        ('small_050', (1, 3, 8, 12), (8, 16, 24, 288)),
        ('large', (3, 6, 12, 16), (24, 40, 112, 960)),
        ('large_075', (3, 6, 12, 16), (24, 32, 88, 720)),
    ],
)
def test_the_default_gives_the_last_group_of_each_stride(arch, indices, channels):
    net = MobileNetV3(arch)
    assert net.out_indices == indices
    assert net.out_channels == channels
    assert net.out_strides == (4, 8, 16, 32)
    # Taking strides away moves no output.
    dilated = MobileNetV3(arch, output_stride=8)
    assert (dilated.out_indices, dilated.out_channels) == (indices, channels)
    assert dilated.out_strides == (4, 8, 8, 8)


def test_activations_are_the_papers_unless_given():
    def activations(net):
        return {type(m.activate) for n, m in net.named_modules() if n.endswith('depthwise_conv')}

    assert activations(MobileNetV3('small_050')) == {nn.ReLU, nn.Hardswish}
    assert activations(MobileNetV3('small_050', act_cfg=dict(type='ReLU6'))) == {nn.ReLU6}


def test_init_cfg_reaches_every_convolution():
    net = MobileNetV3('small_050', init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))
    net.init_weights()
    assert all((m.weight == 0.5).all() for m in net.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='tiny'), "arch='tiny'.*small_075"),
        (dict(arch=None), 'arch=None.*large'),
        (dict(arch=['small']), r"arch=\['small'\].*large"),
        (dict(output_stride=64), 'output_stride=64.*8, 16 or 32'),
        (dict(out_indices=(13,)), 'outputs are 0 to 12'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV3(**options)
