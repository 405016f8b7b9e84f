"""ECA against timm's, and as a plugin of a ResNet."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmblocks import ECA, ResNet
from tests.parity import assert_same_gradients, assert_same_maps, randomise


class AsNet(nn.Sequential):
    """A layer with a net's list of maps."""

    def forward(self, x):
        return [super().forward(x)]


@pytest.mark.parametrize(
    ('channels', 'ours', 'theirs'),
    [
        (40, dict(), dict(channels=40)),
        (300, dict(gamma=1, beta=2), dict(channels=300, gamma=1, beta=2)),
        (40, dict(kernel_size=7), dict(kernel_size=7)),
        (
            40,
            dict(gate_cfg=dict(type='torch.nn.Hardsigmoid')),
            dict(channels=40, gate_layer='hard_sigmoid'),
        ),
    ],
)
def test_it_equals_timms(peer, channels, ours, theirs):
    theirs = randomise(peer('timm.layers').EcaModule(**theirs))
    ours = ECA(channels, **ours)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, channels, 9, 6)
    assert_same_maps([ours(x)], [theirs(x)])
    assert_same_gradients(AsNet(ours), AsNet(theirs), AsNet(theirs), x)


def test_the_kernels_are_timms(peer):
    theirs = peer('timm.layers').EcaModule
    for channels in (*range(1, 300), 511, 512, 513, 2047, 2048, 2049, 1 << 15):
        assert ECA(channels).conv.kernel_size == theirs(channels).conv.kernel_size


def test_an_empty_batch_and_one_pixel():
    layer = ECA(16)
    assert layer(torch.randn(0, 16, 5, 8)).shape == (0, 16, 5, 8)
    assert layer(torch.randn(2, 16, 1, 1)).shape == (2, 16, 1, 1)


def test_a_resnet_takes_several_as_plugins():
    plugins = [
        dict(cfg=dict(type='mmblocks.ECA', postfix='1'), position='after_conv1'),
        dict(cfg=dict(type='mmblocks.ECA', postfix='2', kernel_size=5), position='after_conv2'),
    ]
    net = ResNet(18, base_channels=8, plugins=plugins)
    block = net.layer3[1]
    assert (block.eca1.in_channels, block.eca2.in_channels) == (32, 32)
    assert (block.eca1.conv.kernel_size, block.eca2.conv.kernel_size) == ((3,), (5,))
    maps = net(torch.randn(2, 3, 64, 33))
    sum(out.sum() for out in maps).backward()
    assert block.eca1.conv.weight.grad.any()


def test_a_config_can_name_it():
    assert isinstance(MODELS.build(dict(type='mmblocks.ECA', in_channels=8)), ECA)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=0), 'in_channels=0: must be an int of at least 1'),
        (dict(in_channels=8, kernel_size=4), 'kernel_size=4: must be an odd int'),
        (dict(in_channels=8, gamma=0), 'gamma=0: must be a number above 0'),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ECA(**options)
