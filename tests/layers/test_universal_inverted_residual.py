"""The universal inverted bottleneck: equal to timm's."""

import pytest
import torch

from mmblocks.layers import UniversalInvertedResidual
from tests.parity import assert_same_maps, randomise

KERNELS = {'ExtraDW': (5, 3), 'IB': (None, 3), 'ConvNext': (3, None), 'FFN': (None, None)}


@pytest.mark.parametrize('out_channels', [16, 24])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('kind', KERNELS)
def test_it_equals_timms(kind, stride, out_channels, peer):
    start, mid = KERNELS[kind]
    if kind == 'FFN' and stride == 2:
        return
    theirs_of = peer('timm.models._efficientnet_blocks').UniversalInvertedResidual
    theirs = theirs_of(
        16,
        out_channels,
        start or 0,
        mid or 0,
        stride=stride,
        exp_ratio=3,
        layer_scale_init_value=None,
    ).eval()
    ours = UniversalInvertedResidual(16, out_channels, 48, start, mid, stride).eval()
    ours.load_state_dict(randomise(theirs).state_dict())
    x = torch.rand(2, 16, 9, 11)
    with torch.no_grad():
        assert_same_maps([ours(x)], [theirs(x)])


@pytest.mark.parametrize(('start', 'mid', 'reach'), [(None, 5, 4), (5, None, 4), (3, 5, 6)])
def test_dilation_looks_further_and_keeps_the_size(start, mid, reach):
    block = randomise(UniversalInvertedResidual(4, 8, 8, start, mid, dilation=2)).eval()
    x = torch.zeros(1, 4, 31, 31)
    base = block(x)
    x[..., 15, 15] = 5.0
    reached = (block(x) - base).abs().amax((0, 1)) > 1e-6
    assert base.shape[-2:] == (31, 31)
    rows = reached.any(1).nonzero().flatten().tolist()
    assert rows == list(range(15 - reach, 16 + reach, 2))


def test_a_stride_needs_a_depthwise_convolution():
    with pytest.raises(ValueError, match='stride=2: needs start_kernel_size or mid_kernel_size'):
        UniversalInvertedResidual(8, 8, 16, mid_kernel_size=None, stride=2)
