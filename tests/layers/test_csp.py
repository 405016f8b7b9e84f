"""C3 and its bottleneck against mmdet's, C2f against its definition."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from mmblocks.layers import C3, C2f, DarknetBottleneck
from tests.parity import assert_same_gradients, assert_same_maps, randomise


class AsNet(nn.Sequential):
    def forward(self, x):
        return [super().forward(x)]


def convolve(state, name, x, depthwise=False):
    """A convolution with BatchNorm in eval mode and SiLU, by hand."""
    if depthwise:
        return convolve(
            state, f'{name}.pointwise_conv', convolve(state, f'{name}.depthwise_conv', x)
        )
    weight = state[f'{name}.conv.weight']
    x = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=x.shape[1] // weight.shape[1])
    mean, var = state[f'{name}.bn.running_mean'], state[f'{name}.bn.running_var']
    scale = state[f'{name}.bn.weight'] / (var + 1e-3).sqrt()
    x = (x - mean[:, None, None]) * scale[:, None, None] + state[f'{name}.bn.bias'][:, None, None]
    return x / (1 + (-x).exp())


def c2f_by_hand(state, x, num_blocks, add_identity=True, depthwise=False):
    x = convolve(state, 'main_conv', x)
    half = x.shape[1] // 2
    left, right = x[:, :half], x[:, half:]
    joined = torch.cat([left, right], 1)
    for i in range(num_blocks):
        out = convolve(state, f'blocks.{i}.conv1', right, depthwise)
        out = convolve(state, f'blocks.{i}.conv2', out, depthwise)
        right = right + out if add_identity else out
        joined = torch.cat([joined, right], 1)
    return convolve(state, 'final_conv', joined)


@pytest.mark.parametrize(
    'options',
    [
        dict(num_blocks=2),
        dict(num_blocks=1, add_identity=False),
        dict(num_blocks=2, use_depthwise=True),
        dict(num_blocks=1, expand_ratio=0.25, act_cfg=dict(type='ReLU')),
    ],
)
def test_c3_equals_mmdets_csp_layer(options):
    from mmdet.models.layers import CSPLayer

    theirs = AsNet(randomise(CSPLayer(6, 8, **options)))
    ours = AsNet(C3(6, 8, **options))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 6, 9, 7)
    assert_same_maps(ours.eval()(x), theirs.eval()(x))
    assert_same_gradients(ours, theirs, theirs, x)


@pytest.mark.parametrize('out_channels', [6, 8])
def test_the_bottleneck_equals_mmdets(out_channels):
    from mmdet.models.layers.csp_layer import DarknetBottleneck as Theirs

    theirs = AsNet(randomise(Theirs(6, out_channels)))
    ours = AsNet(DarknetBottleneck(6, out_channels))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 6, 9, 7)
    assert_same_maps(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize('num_blocks', [1, 3])
@pytest.mark.parametrize('add_identity', [True, False])
@pytest.mark.parametrize('use_depthwise', [True, False])
def test_c2f_is_its_definition(num_blocks, add_identity, use_depthwise):
    options = dict(num_blocks=num_blocks, add_identity=add_identity, use_depthwise=use_depthwise)
    block = randomise(C2f(6, 10, **options)).eval()
    x = torch.randn(2, 6, 9, 7)
    expected = c2f_by_hand(block.state_dict(), x, num_blocks, add_identity, use_depthwise)
    assert_same_maps([block(x)], [expected])


def test_c2f_trains_as_its_definition():
    block = randomise(C2f(6, 8, num_blocks=2)).double()
    plain = nn.ParameterDict({name.replace('.', ':'): p for name, p in block.named_parameters()})
    buffers = dict(block.named_buffers())
    x = torch.randn(2, 6, 9, 7, dtype=torch.float64)
    weighting = torch.randn(2, 8, 9, 7, dtype=torch.float64)
    (block.eval()(x) * weighting).sum().backward()
    grads = {name: p.grad.clone() for name, p in block.named_parameters()}
    block.zero_grad()
    state = {name.replace(':', '.'): p for name, p in plain.items()} | buffers
    (c2f_by_hand(state, x, 2) * weighting).sum().backward()
    assert len(grads) == 3 * (2 + 2 * 2)
    for name, p in block.named_parameters():
        assert p.grad.abs().max() > 0
        assert_same_maps([grads[name]], [p.grad], rtol=1e-10)


def test_parameters_of_c2f_are_the_sum_of_its_convolutions():
    # From 24 to 32 channels, so halves of 16, with 3 bottlenecks: five pieces are joined. Each
    # convolution has no bias, but its norm has a weight and a bias per output channel.
    opening = 24 * 32 + 2 * 32
    bottleneck = 2 * (16 * 16 * 3 * 3 + 2 * 16)
    closing = 5 * 16 * 32 + 2 * 32
    block = C2f(24, 32, num_blocks=3)
    assert sum(p.numel() for p in block.parameters()) == opening + 3 * bottleneck + closing


def test_c2f_has_mmyolos_keys():
    names = {key.rsplit('.', 2)[0] for key in C2f(4, 4, num_blocks=2).state_dict()}
    bottlenecks = {f'blocks.{i}.conv{k}' for i in (0, 1) for k in (1, 2)}
    assert names == {'main_conv', 'final_conv', *bottlenecks}


@pytest.mark.parametrize('layer', [C3, C2f, DarknetBottleneck])
def test_a_config_can_name_it(layer):
    cfg = dict(type=f'mmblocks.{layer.__name__}', in_channels=6, out_channels=8)
    before = dict(cfg)
    block = MODELS.build(cfg)
    assert type(block) is layer
    assert cfg == before
    assert block(torch.rand(1, 6, 5, 5)).shape == (1, 8, 5, 5)


@pytest.mark.parametrize('layer', [C3, C2f])
def test_options_reach_every_convolution(layer):
    block = layer(
        4,
        4,
        num_blocks=2,
        conv_cfg=dict(type='Conv2d'),
        norm_cfg=dict(type='GN', num_groups=1),
        act_cfg=dict(type='ReLU'),
        use_depthwise=True,
    )
    kinds = [type(m) for m in block.modules()]
    assert kinds.count(nn.GroupNorm) == kinds.count(nn.ReLU) == kinds.count(nn.Conv2d)
    assert nn.BatchNorm2d not in kinds
