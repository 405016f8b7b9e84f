"""The depthwise separable convolution against mmcv's, which has other keys."""

import torch
from mmcv.cnn import DepthwiseSeparableConvModule

from mmblocks.layers import DepthwiseSeparableConv
from tests.parity import assert_same_maps, randomise


def test_it_equals_mmcvs():
    theirs = DepthwiseSeparableConvModule(
        8, 12, 3, stride=2, padding=2, dilation=2, norm_cfg=dict(type='BN')
    )
    ours = DepthwiseSeparableConv(8, 12, stride=2, dilation=2, act_cfg=dict(type='ReLU')).eval()
    values = randomise(theirs).eval().state_dict().values()
    # Both list their tensors in running order.
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    x = torch.randn(2, 8, 11, 9)
    with torch.no_grad():
        assert_same_maps([ours(x)], [theirs(x)])
