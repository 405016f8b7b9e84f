"""ShuffleNetV1's own: all widths, mmpretrain's signature and freezing, and its unit."""

import inspect

import pytest
import torch

from mmblocks import ShuffleNetV1
from mmblocks.layers import ShuffleUnit

GROUPS = (1, 2, 3, 4, 8)
FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
ALL = (0, 1, 2)


@pytest.fixture(scope='module')
def theirs(peer):
    return peer('mmpretrain.models.backbones').ShuffleNetV1


def shapes(net):
    return {name: tensor.shape for name, tensor in net.state_dict().items()}


def test_its_arguments_are_mmpretrains_and_in_channels(theirs):
    ours, his = (list(inspect.signature(c).parameters.values()) for c in (ShuffleNetV1, theirs))
    assert [(p.name, p.default) for p in ours[: len(his)]] == [(p.name, p.default) for p in his]
    assert [p.name for p in ours[len(his) :]] == ['in_channels', 'plugins', 'replace_convs']


def test_every_width_can_be_built_and_is_mmpretrains_where_that_has_it(theirs):
    missing = []
    for groups in GROUPS:
        for factor in FACTORS:
            with torch.device('meta'):
                net = ShuffleNetV1(groups, factor)
                try:
                    expected = shapes(theirs(groups, factor))
                except ValueError:
                    missing.append((groups, factor))
                    continue
            assert shapes(net) == expected
    assert missing, 'mmpretrain has all widths now: ours can follow it everywhere'
    assert {factor for _, factor in missing}.isdisjoint({1.0, 2.0})
    assert {groups for groups, _ in missing} == {3, 4, 8}


@pytest.mark.parametrize(
    ('groups', 'factor', 'params'),
    # Of pytorchcv, with a linear layer to 1000 classes. Its nets of one group and factor 0.25 or
    # 0.75 are a little smaller than mmpretrain's and ours, which round to multiples of 8.
    [
        (1, 0.5, 534484),
        (1, 1.0, 1531936),
        (2, 1.0, 1733848),
        (3, 0.25, 305902),
        (3, 0.5, 718324),
        (3, 0.75, 1238266),
        (3, 1.0, 1865728),
        (4, 1.0, 1968344),
        (8, 1.0, 2434768),
    ],
)
def test_parameters_are_the_published_ones(groups, factor, params):
    net = ShuffleNetV1(groups, factor)
    head = (net.out_channels[0] + 1) * 1000
    assert sum(p.numel() for p in net.parameters()) + head == params


def test_outputs_are_counted_as_in_mmpretrain():
    assert ShuffleNetV1().out_channels == (960,)
    assert ShuffleNetV1(1).out_channels == (576,)
    net = ShuffleNetV1(out_indices=ALL)
    assert net.out_channels == (240, 480, 960)
    assert net.out_strides == (8, 16, 32)


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2])
def test_what_is_frozen_is_what_mmpretrain_freezes(frozen_stages, theirs):
    ours, his = (c(widen_factor=0.5, frozen_stages=frozen_stages) for c in (ShuffleNetV1, theirs))
    his.train()  # mmpretrain freezes only here
    assert {n for n, p in ours.named_parameters() if p.requires_grad} == {
        n for n, p in his.named_parameters() if p.requires_grad
    }


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(groups=5), r'groups=5: .*\[1, 2, 3, 4, 8\]'),
        (dict(groups=[3]), r'groups=\[3\]: must be one of'),
        (dict(widen_factor=0), 'widen_factor=0: .*above 0'),
        (dict(widen_factor='1'), "widen_factor='1': .*a number"),
        (dict(widen_factor=0.01), 'widen_factor=0.01 .*small'),
        (dict(groups=8, widen_factor=0.01), 'widen_factor'),
    ],
)
def test_a_net_that_cannot_be_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        ShuffleNetV1(**options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=24, out_channels=240), 'the same'),
        (dict(in_channels=240, out_channels=240, stride=3), 'stride=3'),
        (dict(in_channels=240, out_channels=240, groups=7), 'groups=7'),
        (dict(in_channels=25, out_channels=240, stride=2), 'groups=3'),
    ],
)
def test_a_unit_that_cannot_be_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        ShuffleUnit(**options)
