"""Conv2dSamePadding: mmcv's numbers, for every size of a traced graph."""

import pytest
import torch
from mmcv.cnn import ConvModule, build_conv_layer
from torch.testing import assert_close

from mmblocks import Conv2dSamePadding

SHAPES = [(33, 40), (64, 65), (9, 14)]
every_geometry = pytest.mark.parametrize(
    ('kernel_size', 'stride', 'dilation'),
    [
        (1, 1, 1),
        (1, 2, 1),
        (2, 1, 1),
        (2, 2, 1),
        (2, 3, 1),
        (3, 1, 1),
        (3, 1, 2),
        (3, 2, 1),
        (3, 2, 2),
        (3, 3, 1),
        (5, 2, 1),
        ((3, 5), (2, 1), 1),
        ((5, 1), (1, 2), (2, 1)),
    ],
)


def layer(kernel_size, stride, dilation):
    # Some padding stands in every call of a builder.
    return Conv2dSamePadding(4, 6, kernel_size, stride, 1, dilation, groups=2)


@every_geometry
def test_it_equals_mmcvs(kernel_size, stride, dilation):
    ours = layer(kernel_size, stride, dilation)
    options = dict(stride=stride, dilation=dilation, groups=2)
    theirs = build_conv_layer(dict(type='Conv2dAdaptivePadding'), 4, 6, kernel_size, **options)
    theirs.load_state_dict(ours.state_dict())
    for shape in SHAPES:
        x = torch.rand(2, 4, *shape)
        assert_close(ours(x), theirs(x))


@every_geometry
def test_one_exported_graph_takes_images_of_other_sizes(kernel_size, stride, dilation):
    ours = layer(kernel_size, stride, dilation)
    sizes = {axis: torch.export.Dim(name, min=8, max=512) for axis, name in ((2, 'h'), (3, 'w'))}
    x = torch.rand(1, 4, 33, 40)
    exported = torch.export.export(ours, (x,), dynamic_shapes=(sizes,)).module()
    for shape in SHAPES:
        x = torch.rand(1, 4, *shape)
        assert_close(exported(x), ours(x))


@every_geometry
def test_one_traced_graph_takes_images_of_other_sizes(kernel_size, stride, dilation):
    ours = layer(kernel_size, stride, dilation)
    traced = torch.jit.trace(ours, torch.rand(1, 4, 33, 40))
    for shape in SHAPES:
        x = torch.rand(1, 4, *shape)
        assert_close(traced(x), ours(x))


def test_the_odd_pixel_goes_to_the_bottom_and_the_right():
    conv = Conv2dSamePadding(1, 1, 3, stride=2, bias=False)
    torch.nn.init.ones_(conv.weight)
    # Windows begin at 0, 2 and, where three pixels are left, end one behind the image.
    expected = torch.tensor([[9.0, 6.0], [6.0, 4.0]])
    assert_close(conv(torch.ones(1, 1, 4, 4))[0, 0], expected)


def test_a_config_can_name_it():
    conv = ConvModule(
        4, 6, 3, stride=2, padding=1, conv_cfg=dict(type='mmblocks.Conv2dSamePadding')
    )
    assert type(conv.conv) is Conv2dSamePadding
    assert conv(torch.rand(1, 4, 9, 8)).shape == (1, 6, 5, 4)
