"""The sum of a residual block, in place where it can be, overwrites nothing that others read."""

import copy
from itertools import product

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.testing import assert_close

from mmblocks.layers import BasicBlock, Bottleneck, SENetBasicBlock, SENetBottleneck
from tests.parity import randomise

ALL_BLOCKS = (BasicBlock, Bottleneck, SENetBasicBlock, SENetBottleneck)
OPTIONS_OF_ALL = (
    dict(se_ratio=4),
    dict(norm_cfg=dict(type='GN', num_groups=2)),
    dict(norm_cfg=dict(type='IN', affine=True)),
    dict(norm_cfg=None),
)
# An activation needs its output for its gradient.
ACTIVATED_DCN = dict(type='mmblocks.AKConv', act_cfg=dict(type='ReLU'))


def plain(block, x):
    """The block's definition, nothing in place."""
    out = x
    num_convs = 2 if block.expansion == 1 else 3
    for i in range(1, num_convs + 1):
        out = getattr(block, f'conv{i}')(out)
        out = getattr(block, getattr(block, f'norm{i}_name'))(out)
        if i < num_convs or isinstance(block, SENetBasicBlock):
            out = torch.relu(out)
    for name in ('se_layer', 'se_module', 'drop_path'):
        out = getattr(block, name, nn.Identity())(out)
    return torch.relu(out + x)


def step(block, forward, x):
    """Returns output, gradients and statistics of one step."""
    twin = copy.deepcopy(block)
    x = x.clone().requires_grad_()
    torch.manual_seed(0)
    out = forward(twin, x)
    out.square().mean().backward()
    return out, x.grad, {name: p.grad for name, p in twin.named_parameters()}, twin.state_dict()


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize(
    ('cls', 'options'),
    [
        *product(ALL_BLOCKS, OPTIONS_OF_ALL),
        *product((BasicBlock, Bottleneck), ({}, dict(drop_path_rate=0.5))),
        (BasicBlock, dict(norm_cfg=None, dcn=ACTIVATED_DCN)),
    ],
)
def test_adding_in_place_changes_nothing(cls, options, training):
    block = randomise(cls(8 * cls.expansion, 8, **options)).double().train(training)
    x = torch.randn(6, 8 * cls.expansion, 5, 4, dtype=torch.float64)
    before = x.clone()
    assert_close(step(block, cls.forward, x), step(block, plain, x), rtol=0, atol=0)
    with torch.no_grad():
        block(x)
    assert torch.equal(x, before), 'the block wrote into its input'


class Recorder(nn.Module):
    """Returns its input, and keeps it."""

    def forward(self, x):
        self.kept = x
        return x


class Flip(nn.Module):
    """Returns a view of what it keeps."""

    def forward(self, x):
        self.kept = x + 1
        return self.kept.transpose(2, 3).transpose(2, 3)


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('layer', [Recorder, Flip, nn.Sigmoid])
def test_the_output_of_a_plugin_stays(depth, layer):
    """A sigmoid needs its output for its gradient."""
    position = f'after_conv{2 if depth == 18 else 3}'
    stages = (True, False, False, False)
    plugin = dict(cfg=dict(type=layer), position=position, stages=stages, init=None)
    net = MODELS.build(dict(type='mmblocks.ResNet', depth=depth, base_channels=8, plugins=[plugin]))
    block = net.layer1[1]
    added = next(m for m in block.modules() if isinstance(m, layer))
    outs = []
    added.register_forward_hook(lambda module, args, out: outs.append((out, out.clone())))
    block(torch.randn(2, 8 if depth == 18 else 32, 6, 6)).mean().backward()
    for out, copied in outs:
        assert torch.equal(out, copied)
    assert outs
