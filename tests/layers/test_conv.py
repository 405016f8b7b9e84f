"""A convolution is the one of the config."""

import pytest
import torch
from torch import nn

from mmblocks.layers import C3, DeformConv2dPack
from mmblocks.layers.conv import build_conv
from mmblocks.necks import FPN


def test_none_is_a_plain_one():
    assert type(build_conv(None, 3, 8, 3, bias=False)) is nn.Conv2d


@pytest.mark.parametrize('kind', ['DeformConv2d', 'DeformConv2dPack'])
def test_one_that_wants_offsets_finds_them_itself(kind):
    cfg = dict(type=f'mmblocks.{kind}')
    assert type(build_conv(cfg, 3, 8, 3)) is DeformConv2dPack
    x = torch.rand(1, 8, 4, 4)
    assert C3(8, 8, conv_cfg=cfg)(x).shape == x.shape
    assert FPN([8], 8, 1, conv_cfg=cfg)([x])[0].shape == x.shape


def test_what_cannot_be_built_is_named():
    with pytest.raises(ValueError, match=r"^conv_cfg=\{'type': 'DCN'.*bias=True is not supported"):
        build_conv(dict(type='DCN'), 3, 8, 3, bias=True)
    with pytest.raises(ValueError, match=r'^conv_cfg=.*bias=True is not supported'):
        FPN([8], 8, 1, conv_cfg=dict(type='DCN'))
    with pytest.raises(ValueError, match=r"^dcn: no layer 'DCNv9'"):
        build_conv(dict(type='DCNv9'), 3, 8, 3, argument='dcn')
