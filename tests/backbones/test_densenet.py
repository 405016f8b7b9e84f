"""DenseNet's own: old keys, memory, dropout, and bad arguments."""

import inspect
import re

import pytest
import torch
from torch.testing import assert_close

from mmblocks import DenseNet
from tests.pairs import activated_last
from tests.parity import randomise

TINY = dict(growth_rate=8, depths=(2, 3, 2, 2), init_channels=16)


def images():
    return torch.rand(2, 3, 65, 83)


def tiny_torchvision_net(peer, **options):
    net = peer('torchvision.models').DenseNet(8, TINY['depths'], 16, num_classes=5, **options)
    return randomise(net).eval()


def load(ours, theirs, state_dict=None):
    keys = ours.load_state_dict(state_dict or theirs.state_dict(), strict=False)
    assert keys.missing_keys == keys.unexpected_keys == []
    return ours.eval()


def test_old_torchvision_weights_load(peer):
    theirs = tiny_torchvision_net(peer)
    dotted = r'(denselayer\d+\.(?:norm|conv))([12])\.'
    old = {re.sub(dotted, r'\1.\2.', key): v for key, v in theirs.state_dict().items()}
    assert 'features.denseblock1.denselayer1.norm.1.weight' in old
    x = images()
    with torch.no_grad():
        assert_close(load(DenseNet(TINY), theirs, old)(x), (activated_last(theirs, x)[-1],))
        ours = load(DenseNet(TINY, num_classes=5), theirs, old)
        assert_close(ours(x), (theirs(x),))


def test_the_signature_begins_as_mmpretrains(peer):
    theirs = inspect.signature(peer('mmpretrain.models.backbones').DenseNet).parameters
    ours = inspect.signature(DenseNet).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    # out_indices depends on num_classes, and mmpretrain's frozen_stages=0 freezes nothing.
    own = {'out_indices', 'frozen_stages', 'init_cfg'}
    assert all(ours[name].default == theirs[name].default for name in set(theirs) - own)
    assert DenseNet(TINY).out_indices == (3,)
    assert DenseNet(TINY).frozen_stages == -1


def saved_for_backward(net, x):
    # Tensors are held on to, so that no address is given twice.
    held = []

    def keep(tensor):
        held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(x)
    storages = [tensor.untyped_storage() for tensor in held]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_memory_efficient_grows_with_the_layers_and_not_with_their_square():
    x = torch.rand(1, 3, 64, 64)

    def growth(memory_efficient):
        few, many = (
            saved_for_backward(
                DenseNet(
                    dict(growth_rate=8, depths=[depth], init_channels=8),
                    bn_size=1,
                    memory_efficient=memory_efficient,
                ),
                x,
            )
            for depth in (10, 40)
        )
        return many / few

    assert growth(False) > 6
    assert growth(True) < 4.5


def test_dropping_values_is_reproduced_when_layers_are_recomputed():
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    results = []
    for options in ({}, dict(memory_efficient=True), dict(memory_efficient=True, with_cp=True)):
        net = randomise(DenseNet(TINY, drop_rate=0.5, **options)).double().train()
        torch.manual_seed(3)
        net(x)[0].square().mean().backward()
        results.append({name: p.grad for name, p in net.named_parameters()})
    assert_close(results[1], results[0])
    assert_close(results[2], results[0])
    assert not torch.equal(net(x)[0], net(x)[0])


def test_statistics_of_plugins_move_once_when_layers_are_recomputed():
    plugin = dict(type='ConvModule', kernel_size=1, norm_cfg=dict(type='BN'))
    x = torch.rand(2, 3, 64, 64)
    results = []
    for memory_efficient in (False, True):
        net = randomise(
            DenseNet(
                TINY,
                memory_efficient=memory_efficient,
                plugins=[dict(cfg=plugin, position='after_conv1')],
            )
        )
        net.train()(x)[0].sum().backward()
        results.append(dict(net.named_buffers()))
    assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='264'), "arch='264'.*'201'.*growth_rate"),
        (dict(arch=122), 'arch=122.*161'),
        (dict(arch=dict(growth_rate=8, depths=[2])), 'arch=.*must have the keys.*init_channels'),
        (dict(arch=TINY | dict(width=2)), 'arch=.*must have the keys'),
        (dict(arch=TINY | dict(depths=[])), 'arch=.*at least 1'),
        (dict(arch=TINY | dict(depths=[2.0])), 'arch=.*ints'),
        (dict(arch=TINY | dict(depths=3)), 'arch=.*depths must be a list'),
        (dict(bn_size=0), 'bn_size=0.*at least 1'),
        (
            dict(arch=TINY, compression_factor=0.01),
            'factor=0.01: must leave .* 32 channels',
        ),
        (dict(arch=TINY | dict(depths=[2, 0])), 'arch=.*at least 1'),
        (dict(compression_factor='x'), "compression_factor='x': must be a number"),
        (dict(drop_rate=2), 'drop_rate=2: must be a number from 0 to 1'),
        (dict(compression_factor=0), 'compression_factor=0.*above 0'),
        (dict(compression_factor=1.5), 'compression_factor=1.5.*at most 1'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        DenseNet(**options)
