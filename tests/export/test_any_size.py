"""Nets whose pools round up have graphs for images of any size."""

import pytest
import torch
from torch import nn

from mmblocks.export.any_size import CeilByPadding
from tests.backbones.nets import NETS, build, images

CEIL = ('GoogLeNet', 'SqueezeNet', 'NIN', 'SENet', 'ResNetV1d')


@pytest.mark.parametrize('size', [(8, 8), (9, 13), (10, 7)])
@pytest.mark.parametrize(
    'pool',
    [
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(3, 1, padding=1),
        nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(2),
    ],
    ids=str,
)
def test_pools_give_what_they_give_otherwise(pool, size):
    x = torch.randn(2, 3, *size)
    with CeilByPadding():
        found = pool(x)
    torch.testing.assert_close(found, pool(x))


@pytest.mark.parametrize('net', [n for n in NETS if n.cfg['type'] in CEIL], ids=str)
def test_a_graph_of_a_net_takes_other_sizes(net):
    model = build(net).eval()
    height, width = (32 * torch.export.Dim(name, max=32) for name in 'hw')
    with CeilByPadding(), torch.no_grad():
        graph = torch.export.export(
            model, (images(net, 96, 128),), dynamic_shapes=({2: height, 3: width},), strict=False
        ).module()
    x = images(net, 160, 96)
    with torch.no_grad():
        for found, wanted in zip(graph(x), model(x), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
