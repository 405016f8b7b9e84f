"""MobileNetV3's own: mmpretrain's signature, defaults, activations and bad arguments."""

import inspect

import pytest
from torch import nn

from mmblocks import MobileNetV3


def test_the_signature_begins_as_mmpretrains(peer):
    theirs = inspect.signature(peer('mmpretrain.models.backbones').MobileNetV3).parameters
    ours = inspect.signature(MobileNetV3).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    # The default of init_cfg stands in the base, as for every net.
    assert all(ours[name].default == theirs[name].default for name in theirs if name != 'init_cfg')


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
