"""The focus layer against mmdet's, and on images that mmdet's refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from mmblocks.layers import Focus
from tests.parity import assert_same_maps, randomise


@pytest.mark.parametrize('options', [{}, dict(kernel_size=3), dict(kernel_size=3, stride=2)])
def test_it_equals_mmdets(options):
    from mmdet.models.backbones.csp_darknet import Focus as Theirs

    theirs = randomise(Theirs(3, 5, **options)).eval()
    ours = Focus(3, 5, **options).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 12, 18)
    assert_same_maps([ours(x)], [theirs(x)])


@pytest.mark.parametrize('height', [9, 10])
@pytest.mark.parametrize('width', [7, 8])
def test_every_pixel_reaches_its_place(height, width):
    focus = Focus(1, 4, norm_cfg=None, act_cfg=None)
    focus.conv.conv.weight.data.copy_(torch.eye(4).view(4, 4, 1, 1))
    focus.conv.conv.bias.data.zero_()
    x = torch.rand(1, 1, height, width)
    out = focus(x)
    assert out.shape == (1, 4, 5, 4)
    for row in range(5 * 2):
        for column in range(4 * 2):
            there = row < height and column < width
            expected = x[0, 0, row, column].item() if there else 0.0
            assert out[0, 2 * (column % 2) + row % 2, row // 2, column // 2] == expected


def test_an_odd_image_is_as_good_as_one_completed_with_zeros():
    focus = randomise(Focus(3, 5, kernel_size=3)).eval()
    x = torch.randn(2, 3, 11, 15)
    assert_close(focus(x), focus(F.pad(x, (0, 1, 0, 1))))


@pytest.mark.parametrize('traced', [(16, 16), (17, 16), (17, 19)])
def test_exported_once_it_takes_even_and_odd_sizes(traced):
    net = randomise(nn.Sequential(Focus(3, 5, 3), nn.Conv2d(5, 4, 3, stride=2, padding=1))).eval()
    sizes = {i: torch.export.Dim(name, min=8, max=100) for i, name in ((2, 'h'), (3, 'w'))}
    x = torch.rand(2, 3, *traced)
    exported = torch.export.export(net, (x,), dynamic_shapes=({**sizes},)).module()
    for size in ((16, 16), (17, 16), (16, 17), (31, 9)):
        x = torch.rand(2, 3, *size)
        assert_close(exported(x), net(x))
