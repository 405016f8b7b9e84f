"""MobileNetV4: equal to timm's."""

import pytest
import torch

from mmblocks import MobileNetV4
from mmblocks.describe.catalog import build_on_meta
from tests.parity import assert_same_gradients, assert_same_maps, randomise

# timm's models, and their options here.
MODELS = {
    'conv_small_035': dict(arch='conv_small', widen_factor=0.35),
    'conv_small_050': dict(arch='conv_small', widen_factor=0.5),
    'conv_small': dict(arch='conv_small'),
    'conv_medium': dict(arch='conv_medium'),
    'conv_large': dict(arch='conv_large'),
}
# In timm these run after the pooling.
CLASSIFIER = ('conv_head.', 'norm_head.', 'classifier.')


def images():
    return torch.rand(2, 3, 65, 83)


def pair(peer, name, output_stride=32):
    options = {} if output_stride == 32 else dict(features_only=True, output_stride=output_stride)
    theirs = randomise(peer('timm').create_model(f'mobilenetv4_{name}', **options)).eval()
    ours = MobileNetV4(**MODELS[name], out_indices=range(5), output_stride=output_stride).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def timm_maps(model, x):
    """The output of each of timm's stages."""
    x = model.bn1(model.conv_stem(x))
    # Where timm's net gives features, the norm does not include the activation.
    x = model.act1(x) if hasattr(model, 'act1') else x
    maps = []
    for stage in model.blocks:
        x = stage(x)
        maps.append(x)
    return maps


@pytest.mark.parametrize('name', MODELS)
def test_it_equals_timm(name, peer):
    ours, theirs = pair(peer, name)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))


@pytest.mark.parametrize('name', ['conv_small_050', 'conv_medium'])
@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilated_it_equals_timm(name, output_stride, peer):
    ours, theirs = pair(peer, name, output_stride)
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))
    assert max(ours.out_strides) == output_stride


@pytest.mark.parametrize('name', ['conv_small_050', 'conv_medium'])
def test_gradients_equal_timms(name, peer):
    ours, theirs = pair(peer, name)
    assert_same_gradients(ours, theirs, lambda x: timm_maps(theirs, x), images())


@pytest.mark.parametrize('name', MODELS)
def test_names_and_sizes_are_timms_but_for_the_classifier(name, peer):
    with torch.device('meta'):
        theirs = peer('timm').create_model(f'mobilenetv4_{name}').state_dict()
    ours = build_on_meta(dict(MODELS[name], type='MobileNetV4')).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in theirs.items() if not key.startswith(CLASSIFIER)
    }


@pytest.mark.parametrize(
    ('name', 'channels'),
    [
        ('conv_small_035', (16, 24, 32, 336)),
        ('conv_small', (32, 64, 96, 960)),
        ('conv_medium', (48, 80, 160, 960)),
        ('conv_large', (48, 96, 192, 960)),
    ],
)
def test_the_default_gives_the_last_group_of_each_stride(name, channels):
    net = build_on_meta(dict(MODELS[name], type='MobileNetV4'))
    assert net.out_channels == channels
    assert net.out_strides == (4, 8, 16, 32)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='hybrid_medium'), "arch='hybrid_medium'.*conv_medium"),
        (dict(widen_factor=0), 'widen_factor=0: must be a number above 0'),
        (dict(output_stride=64), 'output_stride=64.*8, 16 or 32'),
        (dict(out_indices=(5,)), 'outputs are 0 to 4'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV4(**options)
