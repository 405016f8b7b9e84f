"""The pre-activation blocks against their definition, written plainly."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmblocks.layers import PreActBasicBlock, PreActBottleneck
from tests.parity import randomise


def preact(x, bn):
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias).relu()


def excited(x, se):
    # Linear layers over the means of the channels.
    hidden = F.linear(x.mean((2, 3)), se.fc1.weight[:, :, 0, 0], se.fc1.bias).relu()
    weights = F.linear(hidden, se.fc2.weight[:, :, 0, 0], se.fc2.bias).sigmoid()
    return torch.einsum('nchw,nc->nchw', x, weights)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('inplace', [False, True])
def test_the_basic_block_is_what_the_papers_say(stride, inplace):
    block = PreActBasicBlock(
        12,
        24,
        stride,
        downsample=True,
        se_ratio=4,
        act_cfg=dict(type='ReLU', inplace=inplace),
    )
    randomise(block).eval()
    x = torch.randn(2, 12, 9, 7)
    before = x.clone()
    first = preact(x, block.norm1)
    out = F.conv2d(first, block.conv1.weight, stride=stride, padding=1)
    out = F.conv2d(preact(out, block.norm2), block.conv2.weight, padding=1)
    shortcut = F.conv2d(first, block.downsample.conv.weight, stride=stride)
    assert_close(block(x), excited(out, block.se) + shortcut)
    assert torch.equal(x, before)


def test_the_bottleneck_is_what_the_papers_say():
    block = randomise(PreActBottleneck(32, 8, se_ratio=16)).eval()
    x = torch.randn(2, 32, 9, 7)
    before = x.clone()
    out = F.conv2d(preact(x, block.norm1), block.conv1.weight)
    out = F.conv2d(preact(out, block.norm2), block.conv2.weight, padding=1)
    out = F.conv2d(preact(out, block.norm3), block.conv3.weight)
    assert_close(block(x), excited(out, block.se) + before)
    assert torch.equal(x, before), 'the first activation must not reach the input'


def test_a_shortcut_that_does_not_fit_is_an_error():
    for block in (dict(inplanes=8, planes=8, stride=2), dict(inplanes=8, planes=16)):
        with pytest.raises(ValueError, match='needs downsample=True'):
            PreActBasicBlock(**block)
