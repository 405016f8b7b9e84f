"""The Inception depthwise convolution and the block around it: definitions and timm's."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch.testing import assert_close

from mmblocks.layers import InceptionDWConv2d, MetaNeXtBlock
from tests.parity import assert_same_gradients, assert_same_maps, randomise

SHAPES = [
    dict(),
    dict(square_kernel_size=5, band_kernel_size=9, branch_ratio=0.25),
    dict(band_kernel_size=7, dilation=2),
    dict(branch_ratio=1 / 3),
]


class AsNet(torch.nn.Sequential):
    def forward(self, x):
        return [super().forward(x)]


def one_large_kernel(layer, channels, size):
    """The depthwise convolution that has all three kernels, and the identity, in its middle."""
    weight, bias, middle = torch.zeros(channels, 1, size, size), torch.zeros(channels), size // 2
    convs = (layer.dwconv_hw, layer.dwconv_w, layer.dwconv_h)
    identity = channels - sum(conv.out_channels for conv in convs)
    weight[:identity, 0, middle, middle] = 1
    start = identity
    for conv in convs:
        end = start + conv.out_channels
        rows, columns = (slice(middle - k // 2, middle + k // 2 + 1) for k in conv.kernel_size)
        weight[start:end, :, rows, columns] = conv.weight
        bias[start:end] = conv.bias
        start = end
    return weight, bias


@pytest.mark.parametrize('options', SHAPES)
def test_it_is_a_large_depthwise_kernel_that_is_mostly_zero(options):
    layer = randomise(InceptionDWConv2d(24, **options))
    x, size, dilation = torch.randn(2, 24, 13, 10), 11, options.get('dilation', 1)
    with torch.no_grad():
        weight, bias = one_large_kernel(layer, 24, size)
        whole = F.conv2d(
            x, weight, bias, padding=dilation * (size // 2), dilation=dilation, groups=24
        )
        assert_same_maps([layer(x)], [whole])


def test_channels_that_no_kernel_has_stay_as_they_are():
    x = torch.randn(2, 16, 9, 9)
    out = randomise(InceptionDWConv2d(16))(x)
    # Two channels of sixteen for each of the three kernels.
    assert_close(out[:, :10], x[:, :10], rtol=0, atol=0)
    assert (out[:, 10:] != x[:, 10:]).all()


@pytest.mark.parametrize('options', SHAPES)
def test_it_equals_timms(options, peer):
    theirs = randomise(peer('timm.models.inception_next').InceptionDWConv2d(24, **options))
    ours = InceptionDWConv2d(24, **options)
    ours.load_state_dict(theirs.state_dict())
    theirs = AsNet(theirs)
    assert_same_gradients(AsNet(ours), theirs, theirs, torch.randn(2, 24, 13, 10))


@pytest.mark.parametrize('options', [dict(), dict(mlp_ratio=3, dilation=2)])
@pytest.mark.parametrize('layer_scale', [1e-6, 0])
def test_the_block_equals_timms(options, layer_scale, peer):
    build = peer('timm.models.inception_next').MetaNeXtBlock
    theirs = randomise(build(24, ls_init_value=layer_scale, **options))
    ours = MetaNeXtBlock(24, layer_scale_init_value=layer_scale, **options)
    ours.load_state_dict(theirs.state_dict())
    theirs = AsNet(theirs)
    assert_same_gradients(AsNet(ours), theirs, theirs, torch.randn(2, 24, 13, 10))


def test_a_dropped_path_leaves_the_input_and_the_others_make_up_for_it():
    x = torch.randn(64, 8, 3, 3)
    block = randomise(MetaNeXtBlock(8, drop_path_rate=0.75)).eval()
    with torch.no_grad():
        added = block(x) - x
        block.drop_path.train()
        out = block(x) - x
    dropped = (out == 0).flatten(1).all(1)
    assert 32 < dropped.sum() < 62
    assert_close(out[~dropped], 4 * added[~dropped], rtol=1e-4, atol=1e-5)


def test_what_a_block_adds_starts_small():
    assert_close(MetaNeXtBlock(8).gamma.data, torch.full((8,), 1e-6))
    assert MetaNeXtBlock(8, layer_scale_init_value=0).gamma is None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=7), 'branch_ratio=0.125 of 7 channels'),
        (dict(in_channels=8, branch_ratio=0.5), 'branch_ratio=0.5.*at most a third'),
        (dict(in_channels=8, branch_ratio=-1), 'branch_ratio=-1: must be a number above 0'),
        (dict(in_channels=8, band_kernel_size=10), 'band_kernel_size=10.*odd'),
        (dict(in_channels=8, square_kernel_size=0), 'square_kernel_size=0.*odd'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        InceptionDWConv2d(**options)


def test_a_config_can_name_it():
    layer = MODELS.build(dict(type='mmblocks.InceptionDWConv2d', in_channels=8))
    assert isinstance(layer, InceptionDWConv2d)
