"""A norm is the one of the config, or none."""

import pytest
import torch
from torch import nn

from mmblocks.layers import C3, GhostModule
from mmblocks.layers.norm import build_norm


def test_none_is_no_norm():
    name, layer = build_norm(None, 8, postfix=2)
    assert (name, type(layer)) == ('norm2', nn.Identity)


def test_the_name_is_openmmlabs():
    name, layer = build_norm(dict(type='GN', num_groups=2), 8, postfix=1)
    assert (name, layer.num_groups, layer.num_channels) == ('gn1', 2, 8)


@pytest.mark.parametrize('layer', [C3, GhostModule])
def test_groups_that_do_not_divide_the_channels_are_named(layer):
    with torch.device('meta'), pytest.raises(ValueError, match=r'^norm_cfg=.*num_groups=3 must'):
        layer(8, 8, norm_cfg=dict(type='GN', num_groups=3))
