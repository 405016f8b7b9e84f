"""Spatial pyramid pooling against mmdet's."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmblocks.layers import SPPBottleneck
from tests.parity import assert_same_gradients, assert_same_maps, randomise

pytestmark = pytest.mark.filterwarnings('ignore:.torch.cuda.amp.autocast:FutureWarning')


class AsNet(torch.nn.Sequential):
    def forward(self, x):
        return [super().forward(x)]


def both(**options):
    from mmdet.models.backbones.csp_darknet import SPPBottleneck as Theirs

    theirs = randomise(Theirs(6, 5, **options))
    ours = SPPBottleneck(6, 5, **options)
    ours.load_state_dict(theirs.state_dict())
    return AsNet(ours), AsNet(theirs)


@pytest.mark.parametrize('kernel_sizes', [(5, 9, 13), (3, 11), (13, 5, 9), (7,), (1, 3, 3), ()])
@pytest.mark.parametrize('size', [(20, 17), (3, 2), (1, 1)])
def test_it_equals_mmdets(kernel_sizes, size):
    ours, theirs = both(kernel_sizes=kernel_sizes)
    x = torch.randn(2, 6, *size)
    assert_same_maps(ours.eval()(x), theirs.eval()(x))


def test_gradients_equal_mmdets():
    ours, theirs = both()
    assert_same_gradients(ours, theirs, theirs, torch.randn(2, 6, 15, 16))


@pytest.mark.parametrize('kernel_sizes', [(5, 9, 13), (3, 9, 5)])
def test_the_maxima_are_exactly_those_of_each_window(kernel_sizes):
    spp = SPPBottleneck(4, 9, kernel_sizes, norm_cfg=None, act_cfg=None)
    seen = []
    spp.conv2.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    # All below zero, so that a border counted as zero would show.
    x = -torch.rand(2, 4, 11, 8) - 1
    spp.conv1.conv.weight.data.fill_(0.5)
    spp.conv1.conv.bias.data.zero_()
    spp(x)
    narrow = spp.conv1(x)
    maxima = [F.max_pool2d(narrow, k, stride=1, padding=k // 2) for k in kernel_sizes]
    assert_close(seen[0], torch.cat([narrow, *maxima], 1), rtol=0, atol=0)


@pytest.mark.parametrize('wrong', [(5, 8), (0,), (-3,), (5.0,), 4])
def test_a_window_that_would_change_the_size_is_refused(wrong):
    with pytest.raises(ValueError, match=r'kernel_sizes=.*odd numbers'):
        SPPBottleneck(4, 4, kernel_sizes=wrong)
