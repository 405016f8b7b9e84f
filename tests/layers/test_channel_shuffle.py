"""The channel shuffle against its definition, as a function, a layer and a plugin."""

import warnings

import pytest
import torch
from mmengine.registry import MODELS
from torch.testing import assert_close

import mmblocks
from mmblocks.layers import ChannelShuffle, channel_shuffle

LAST = torch.channels_last


def definition(x, groups):
    """Each output channel fetched by hand."""
    size = x.shape[1] // groups
    return torch.stack(
        [x[:, group * size + k] for k in range(size) for group in range(groups)], dim=1
    )


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, LAST])
@pytest.mark.parametrize(('channels', 'groups'), [(6, 1), (6, 2), (6, 3), (24, 8), (5, 5)])
def test_it_is_its_definition(channels, groups, memory_format):
    x = torch.rand(2, channels, 7, 5).to(memory_format=memory_format)
    assert torch.equal(channel_shuffle(x, groups), definition(x, groups))


@pytest.mark.parametrize('shape', [(2, 6, 9), (2, 6, 3, 4, 5), (0, 6, 3, 3), (2, 6, 0, 3)])
def test_any_number_of_pixels_and_dimensions_behind_the_channels(shape):
    x = torch.rand(shape)
    assert torch.equal(channel_shuffle(x, 2), definition(x, 2))


def test_the_shuffle_by_the_other_factor_undoes_it():
    x = torch.rand(2, 12, 3, 5)
    assert torch.equal(channel_shuffle(channel_shuffle(x, 3), 4), x)


@pytest.mark.parametrize('groups', [2, 3])
def test_it_equals_mmpretrains(groups, peer):
    theirs = peer('mmpretrain.models.utils').channel_shuffle
    x = torch.rand(2, 12, 7, 5)
    assert torch.equal(channel_shuffle(x, groups), theirs(x, groups))


def test_its_gradient_is_the_inverse_shuffle():
    x = torch.rand(2, 6, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: channel_shuffle(x, 3), (x,))


@pytest.mark.parametrize('groups', [4, 0, -2])
def test_groups_that_do_not_divide_the_channels_are_an_error(groups):
    with pytest.raises(ValueError, match=rf'groups={groups} .*divide the channels of x.* 6'):
        channel_shuffle(torch.rand(2, 6, 3, 3), groups)
    with pytest.raises(ValueError, match=rf'groups={groups}.* must'):
        ChannelShuffle(groups, in_channels=6)


def test_a_map_without_pixels_behind_the_channels_is_an_error():
    with pytest.raises(RuntimeError, match='dim'):
        channel_shuffle(torch.rand(2, 6), 2)


def test_the_layer_comes_from_a_config_and_says_what_it_is():
    layer = MODELS.build(dict(type='ChannelShuffle', groups=2))
    assert type(layer) is ChannelShuffle
    assert repr(layer) == 'ChannelShuffle(groups=2)'
    x = torch.rand(2, 6, 5, 7)
    assert torch.equal(layer(x), definition(x, 2))


def test_the_layer_is_a_plugin():
    plugin = dict(cfg=dict(type='ChannelShuffle', groups=4), position='after_conv1')
    net = mmblocks.ResNet(18, base_channels=8, plugins=[plugin])
    x = torch.rand(2, 8, 5, 7)
    assert torch.equal(net.layer1[0].channel_shuffle(x), definition(x, 4))
    net(torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r'groups=3 .*in_channels=8'):
        mmblocks.ResNet(
            18, base_channels=8, plugins=[dict(plugin, cfg=dict(plugin['cfg'], groups=3))]
        )


def traced(layer, x):
    with warnings.catch_warnings():
        # Nothing in it may depend on values that the tracer only saw once.
        warnings.simplefilter('error', torch.jit.TracerWarning)
        return torch.jit.trace(layer, (x,))


def exported(layer, x):
    sizes = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    return torch.export.export(layer, (x,), dynamic_shapes=(sizes,)).module()


def compiled(layer, x):
    return torch.compile(layer, fullgraph=True, backend='aot_eager')


def graph(layer, x):
    return torch.fx.symbolic_trace(layer)


@pytest.mark.parametrize('capture', [traced, exported, compiled, graph])
def test_captured_it_works_at_other_sizes(capture):
    layer = ChannelShuffle(3)
    captured = capture(layer, torch.rand(2, 6, 5, 7))
    for shape in ((2, 6, 5, 7), (3, 6, 4, 9)):
        x = torch.rand(shape)
        assert_close(captured(x), definition(x, 3))
