"""What stays random in a training is named when it starts, and nothing else is."""

import copy
import pickle

import pytest
import torch
from mmengine.runner import load_checkpoint
from torch import nn

from mmblocks import MobileNetV2, ResNet
from tests.parity import randomise

TINY = dict(depth=18, base_channels=8)


@pytest.fixture
def weights():
    return randomise(ResNet(**TINY)).state_dict()


def started(folder, state_dict, **options):
    """A net that starts from weights."""
    path = str(folder / 'net.pth')
    torch.save(state_dict, path)
    pretrained = {key: options.pop(key) for key in ('min_match', 'adapt_input') if key in options}
    init_cfg = dict(type='Pretrained', checkpoint=path, **pretrained)
    net = ResNet(**TINY, **options, init_cfg=init_cfg)
    net.init_weights()
    return net


def random_parts(caplog):
    return [record.message for record in caplog.records if 'stays random' in record.message]


def test_frozen_parts_that_nothing_filled_are_named_when_training_starts(weights, tmp_path, log):
    some = {k: v for k, v in weights.items() if not k.startswith('layer1.1.')}
    net = started(tmp_path, some, frozen_stages=2, min_match=0.5)
    assert random_parts(log) == []
    net.train()
    net.train()
    (message,) = random_parts(log)
    assert 'ResNet with frozen_stages=2' in message
    assert 'random: layer1 (10 tensors, layer1.1.conv1.weight)' in message
    assert 'layer2' not in message


def test_only_what_was_thawed_meanwhile_is_named_again(log):
    net = ResNet(**TINY, frozen_stages=3)
    for frozen_stages in (3, 1, 2):
        net.set_frozen_stages(frozen_stages)
        net.train()
        net.train()
    first, second = random_parts(log)
    assert 'random: stem (' in first
    assert 'random: layer2 (' in second


def test_weights_that_come_later_fill_too(weights, log):
    nets = {name: ResNet(**TINY, frozen_stages=1) for name in ('filled', 'random')}
    for net in nets.values():
        net.init_weights()
    whole = {f'backbone.{key}': value for key, value in weights.items()}
    nn.ModuleDict(dict(backbone=nets['filled'])).load_state_dict(whole)
    nets['filled'].train()
    assert random_parts(log) == []
    nets['random'].train()
    assert 'random: stem (5 tensors, conv1.weight), layer1 (' in random_parts(log)[0]


def test_a_fitted_stem_is_not_random(weights, tmp_path, log):
    started(tmp_path, weights, in_channels=1, frozen_stages=0, adapt_input=True).train()
    assert random_parts(log) == []


def test_statistics_that_nothing_filled_are_random_too(weights, tmp_path, log):
    some = {k: v for k, v in weights.items() if 'running' not in k}
    started(tmp_path, some, frozen_stages=0, min_match=0.5).train()
    assert 'random: stem (2 tensors, bn1.running_mean)' in random_parts(log)[0]


@pytest.mark.parametrize('initialised', [False, True])
def test_parts_that_are_frozen_later_are_named_when_training_goes_on(initialised, log):
    net = ResNet(**TINY, frozen_stages=0)
    if initialised:
        net.init_weights()
    net.train()
    net.set_frozen_stages(2)
    assert len(random_parts(log)) == 1
    net.train()
    net.train()
    assert len(random_parts(log)) == 2
    assert 'random: layer1 (20 tensors, layer1.0.conv1.weight), layer2 (' in random_parts(log)[1]


def test_what_was_trained_before_it_is_frozen_is_not_random(log):
    net = ResNet(**TINY).train()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.rand(2, 3, 32, 32))[-1].sum().backward()
    optimizer.step()
    net.set_frozen_stages(2)
    net.train()
    assert random_parts(log) == []


def test_nothing_is_said_where_nothing_is_frozen(log):
    net = ResNet(**TINY)
    net.init_weights()
    net.train()
    assert random_parts(log) == []


def norms_off(caplog):
    return [record.message for record in caplog.records if 'norm_eval=True' in record.message]


@pytest.mark.parametrize('initialised', [False, True])
def test_norms_that_would_learn_nothing_are_named_when_training_starts(initialised, log):
    net = ResNet(**TINY, norm_eval=True)
    if initialised:
        net.init_weights()
    net.eval()(torch.rand(1, 3, 32, 32))
    assert norms_off(log) == []
    net.train()
    net.train()
    (message,) = norms_off(log)
    assert 'ResNet with norm_eval=True starts from random weights: its 20 BatchNorms' in message
    assert 'norm_eval=False' in message


def test_frozen_norms_are_not_missed_twice(log):
    ResNet(**TINY, norm_eval=True, frozen_stages=4).train()
    assert norms_off(log) == []
    assert len(random_parts(log)) == 1
    ResNet(**TINY, norm_eval=True, frozen_stages=1).train()
    assert 'its 15 BatchNorms' in norms_off(log)[0]


def test_nothing_is_said_of_norms_that_learn_or_have_learned(weights, tmp_path, log, peer):
    ResNet(**TINY, norm_eval=False).train()
    ResNet(**TINY, norm_cfg=dict(type='GN', num_groups=1), norm_eval=True).train()
    started(tmp_path, weights, norm_eval=True, frozen_stages=1).train()
    later, assigned = (ResNet(**TINY, norm_eval=True, frozen_stages=1) for _ in range(2))
    later.init_weights()
    load_checkpoint(later, str(tmp_path / 'net.pth'))
    later.train()
    assigned.load_state_dict(weights, assign=True)
    assigned.train()
    for copied in (copy.deepcopy(later), pickle.loads(pickle.dumps(later))):
        copied.train()
    # Names of another library are ours by the time that they are looked at.
    foreign = MobileNetV2(widen_factor=0.5, norm_eval=True, frozen_stages=1)
    theirs = randomise(peer('torchvision.models').mobilenet_v2(width_mult=0.5))
    assert not foreign.load_state_dict(theirs.state_dict(), strict=False).missing_keys
    foreign.train()
    assert norms_off(log) == random_parts(log) == []


def test_nothing_is_random_on_the_meta_device(log):
    with torch.device('meta'):
        ResNet(**TINY, norm_eval=True, frozen_stages=1).train()
    assert norms_off(log) == random_parts(log) == []
