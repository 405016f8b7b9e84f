"""The dense block against its definition, written plainly."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmblocks.layers import DenseBlock, DenseTransition
from tests.parity import randomise


def norm(x, bn):
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias).relu()


@pytest.mark.parametrize('memory_efficient', [False, True])
def test_every_layer_reads_everything_before(memory_efficient):
    block = DenseBlock(3, 5, growth_rate=4, bn_size=2, memory_efficient=memory_efficient)
    randomise(block).eval()
    x = torch.rand(2, 5, 9, 7)
    expected = x
    for layer in (block.denselayer1, block.denselayer2, block.denselayer3):
        new = F.conv2d(norm(expected, layer.norm1), layer.conv1.weight)
        new = F.conv2d(norm(new, layer.norm2), layer.conv2.weight, padding=1)
        expected = torch.cat([expected, new], dim=1)
    assert_close(block(x), expected)
    assert block.out_channels == expected.shape[1] == 17


def test_the_transition_pools_whole_squares():
    transition = randomise(DenseTransition(6, 3)).eval()
    x = torch.rand(2, 6, 9, 6)
    out = F.conv2d(norm(x, transition.norm), transition.conv.weight)[:, :, :8]
    expected = out.reshape(2, 3, 4, 2, 3, 2).mean((3, 5))
    assert_close(transition(x), expected)


def test_an_activation_in_place_leaves_the_input_alone():
    block = DenseBlock(2, 5, growth_rate=4, act_cfg=dict(type='ReLU', inplace=True))
    x = torch.randn(1, 5, 4, 4)
    before = x.clone()
    out = block(x)
    assert torch.equal(x, before)
    assert torch.equal(out[:, :5], before)
