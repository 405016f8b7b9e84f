"""MobileNetV4's own: timm's names, defaults and bad arguments."""

import pytest
import torch

from mmblocks import MobileNetV4
from mmblocks.describe.catalog import build_on_meta

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
