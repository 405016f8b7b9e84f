"""The inverted residual: mmdet's, and what mmdet's lacks."""

import pytest
import torch

from mmblocks.layers import InvertedResidual
from tests.parity import assert_same_gradients, assert_same_maps, randomise

SE = dict(channels=48, ratio=4)

MMDET_BLOCKS = {
    'plain': dict(),
    'strided': dict(stride=2, kernel_size=5),
    'narrowing': dict(out_channels=8),
    'without-expansion': dict(mid_channels=16),
    'squeezed': dict(se_cfg=SE),
}


class Wrap(torch.nn.Module):
    """Makes a map a list of maps."""

    def forward(self, x):
        return [x]


def mmdet_pair(options):
    from mmdet.models.layers import InvertedResidual as Mmdets

    options = dict(in_channels=16, out_channels=16, mid_channels=48) | options
    theirs = Mmdets(with_expand_conv=options['mid_channels'] != 16, **options)
    ours_options = dict(options)
    if 'se_cfg' in options:
        # mmdet's does not round the hidden channels.
        ours_options['se_cfg'] = dict(SE, divisor=1)
    ours = InvertedResidual(**ours_options)
    ours.load_state_dict(randomise(theirs).state_dict())
    return ours, theirs


@pytest.mark.parametrize('variant', MMDET_BLOCKS)
def test_it_equals_mmdets(variant):
    ours, theirs = mmdet_pair(MMDET_BLOCKS[variant])
    ours.eval()
    theirs.eval()
    x = torch.randn(2, 16, 9, 7)
    with torch.no_grad():
        assert_same_maps([ours(x)], [theirs(x)])


@pytest.mark.parametrize('variant', ['plain', 'squeezed'])
def test_gradients_equal_mmdets(variant):
    ours, theirs = mmdet_pair(MMDET_BLOCKS[variant])
    ours_maps = torch.nn.Sequential(ours, Wrap())
    assert_same_gradients(ours_maps, theirs, lambda x: [theirs(x)], torch.randn(2, 16, 9, 7))


def test_the_projection_is_linear():
    block = randomise(InvertedResidual(8, 12, 24)).eval()
    assert block(torch.randn(2, 8, 9, 9)).min() < 0


def test_dilation_looks_further_and_keeps_the_size():
    block = randomise(InvertedResidual(4, 8, 8, kernel_size=5, dilation=2)).eval()
    x = torch.zeros(1, 4, 31, 31)
    base = block(x)
    x[..., 15, 15] = 5.0
    reached = (block(x) - base).abs().amax((0, 1)) > 1e-6
    rows = reached.any(1).nonzero().flatten().tolist()
    assert base.shape[-2:] == (31, 31)
    assert rows == [11, 13, 15, 17, 19]


def test_dropped_samples_are_passed_through_in_training_only():
    block = randomise(InvertedResidual(8, 8, 24, drop_path_rate=0.5)).train()
    x = torch.randn(64, 8, 5, 5)
    passed = (block(x) == x).flatten(1).all(1)
    assert 10 < passed.sum() < 54
    assert not (block.eval()(x) == x).flatten(1).all(1).any()


def test_se_cfg_is_not_changed():
    se_cfg = dict(ratio=4)
    block = InvertedResidual(8, 8, 32, se_cfg=se_cfg)
    assert se_cfg == dict(ratio=4)
    assert block.se.conv1.conv.out_channels == 8
