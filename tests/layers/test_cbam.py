"""CBAM against timm's, and as a plugin of a ResNet."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmblocks import CBAM, ResNet
from tests.parity import assert_same_gradients, assert_same_maps, randomise


class AsNet(nn.Sequential):
    """A layer with a net's list of maps."""

    def forward(self, x):
        return [super().forward(x)]


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        (dict(), dict()),
        (dict(ratio=4, kernel_size=3), dict(rd_ratio=1 / 4, spatial_kernel_size=3)),
        (dict(squeeze_channels=5, bias=True), dict(rd_channels=5, mlp_bias=True)),
        (
            dict(act_cfg=dict(type='Tanh'), gate_cfg=dict(type='torch.nn.Hardsigmoid')),
            dict(act_layer=lambda inplace: nn.Tanh(), gate_layer='hard_sigmoid'),
        ),
    ],
)
def test_it_equals_timms(peer, ours, theirs):
    theirs = randomise(peer('timm.layers.cbam').CbamModule(40, **theirs))
    ours = CBAM(40, **ours)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 40, 9, 6)
    assert_same_maps([ours.eval()(x)], [theirs.eval()(x)])
    assert_same_gradients(AsNet(ours), AsNet(theirs), AsNet(theirs), x)


@pytest.mark.parametrize('channels', [1, 7, 8, 23, 24, 40, 512])
def test_the_hidden_channels_are_timms(peer, channels):
    theirs = peer('timm.layers.cbam').CbamModule(channels)
    CBAM(channels).load_state_dict(theirs.state_dict())


def test_other_norms_of_the_place_weights():
    x = torch.randn(2, 16, 5, 8)
    layer = CBAM(16, norm_cfg=dict(type='GN', num_groups=1))
    assert isinstance(layer.spatial.conv.norm, nn.GroupNorm)
    assert layer(x).shape == x.shape
    assert CBAM(16, norm_cfg=None).spatial.conv.conv.bias is not None


def test_an_empty_batch_and_one_pixel():
    layer = CBAM(16).eval()
    assert layer(torch.randn(0, 16, 5, 8)).shape == (0, 16, 5, 8)
    assert layer(torch.randn(2, 16, 1, 1)).shape == (2, 16, 1, 1)


def test_a_resnet_takes_it_as_a_plugin():
    cfg = dict(type='mmblocks.CBAM', ratio=4)
    plugin = dict(cfg=cfg, stages=(False, True, True, True), position='after_conv2')
    net = ResNet(50, base_channels=8, plugins=[plugin])
    places = [name for name, module in net.named_modules() if isinstance(module, CBAM)]
    assert places == [
        f'layer{i}.{j}.cbam' for i, depth in ((2, 4), (3, 6), (4, 3)) for j in range(depth)
    ]
    maps = net(torch.randn(2, 3, 64, 33))
    sum(out.sum() for out in maps).backward()
    assert all(p.grad is not None for p in net.layer2[0].cbam.parameters())


def test_a_config_can_name_it():
    assert isinstance(MODELS.build(dict(type='mmblocks.CBAM', in_channels=8)), CBAM)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(kernel_size=4), 'kernel_size=4: must be an odd int'),
        (dict(kernel_size=-1), 'kernel_size=-1: must be an odd int'),
        (dict(ratio=0), 'ratio=0: must be a number above 0'),
        (dict(squeeze_channels=0), 'squeeze_channels=0: must be an int of at least 1, or None'),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CBAM(16, **options)
