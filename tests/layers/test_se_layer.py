"""Squeeze-and-excitation against timm's."""

import torch

from mmblocks.layers import SqueezeExcite
from tests.parity import assert_same_maps, randomise


def test_it_equals_timm(peer):
    theirs = randomise(peer('timm.models._efficientnet_blocks').SqueezeExcite(24, rd_ratio=0.25))
    ours = SqueezeExcite(24, 6)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 24, 7, 5)
    assert_same_maps([ours(x)], [theirs(x)])
