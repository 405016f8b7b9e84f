"""The blocks of SENet against timm's."""

import pytest
import torch
from torch import nn

from mmblocks.layers import SEModule, SENet154Bottleneck, SENetBasicBlock, SENetBottleneck
from tests.parity import assert_same_maps, randomise


@pytest.mark.parametrize(
    ('ours', 'theirs', 'groups', 'options'),
    [
        (SENetBasicBlock, 'SEResNetBlock', 1, {}),
        (SENetBottleneck, 'SEResNetBottleneck', 1, {}),
        (SENetBottleneck, 'SEResNeXtBottleneck', 8, dict(style='pytorch', width=32)),
        (SENet154Bottleneck, 'SEBottleneck', 16, dict(style='pytorch', width=128)),
    ],
)
@pytest.mark.parametrize('stride', [1, 2])
def test_every_block_equals_timms(ours, theirs, groups, options, stride, peer):
    theirs = getattr(peer('timm.models.senet'), theirs)
    planes, channels = 64, 64 * theirs.expansion

    def shortcut():
        return nn.Sequential(nn.Conv2d(24, channels, 1, stride), nn.BatchNorm2d(channels))

    theirs = randomise(theirs(24, planes, groups, 16, stride, shortcut())).eval()
    ours = ours(24, planes, stride, shortcut(), groups=groups, **options).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 24, 9, 7)
    before = x.clone()
    with torch.no_grad():
        assert_same_maps([ours(x)], [theirs(x)])
    assert torch.equal(x, before)


def test_the_squeeze_keeps_one_channel_at_least():
    assert SEModule(8, ratio=16).fc1.out_channels == 1
    assert SEModule(40, ratio=16).fc1.out_channels == 2
    with pytest.raises(ValueError, match=r'ratio=0.*at least 1'):
        SEModule(8, ratio=0)
