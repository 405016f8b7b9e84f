"""AlexNet: equal to torchvision's and mmpretrain's."""

import inspect

import pytest
import torch

from mmblocks import AlexNet
from tests.parity import assert_same_gradients, assert_same_maps, randomise

ENDS = (2, 5, 12, 13)


def maps_of(model, x):
    """What the peers' nets hold behind the layers that end our groups."""
    maps = []
    for i, layer in enumerate(model.features, 1):
        x = layer(x)
        if i in ENDS:
            maps.append(x.clone())
    return maps


@pytest.fixture(scope='module')
def torchvision_net(peer):
    return randomise(peer('torchvision.models').alexnet(num_classes=5)).eval()


def test_it_equals_torchvision(torchvision_net):
    ours = AlexNet(num_classes=5, out_indices=(0, 1, 2, 3)).eval()
    assert list(ours.state_dict()) == list(torchvision_net.state_dict())
    ours.load_state_dict(torchvision_net.state_dict())
    x = torch.rand(2, 3, 97, 130)
    with torch.no_grad():
        expected = [*maps_of(torchvision_net, x), torchvision_net(x)]
        assert_same_maps(ours(x), expected)


def test_it_equals_mmpretrain(torchvision_net, peer):
    theirs = peer('mmpretrain.models.backbones').AlexNet(num_classes=5)
    theirs.eval()  # mmpretrain's eval() returns nothing
    # The keys are the same, so the values can be too.
    theirs.load_state_dict(torchvision_net.state_dict())
    ours = AlexNet(num_classes=5).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


def test_without_classifier_its_weights_are_left_out(torchvision_net):
    ours = AlexNet()
    ours.load_state_dict(torchvision_net.state_dict())
    assert ours.out_strides == (4, 8, 16, 32)
    x = torch.rand(1, 3, 64, 97)
    with torch.no_grad():
        assert_same_maps(ours(x), maps_of(torchvision_net, x))


def test_gradients_equal_mmpretrains(peer):
    theirs = randomise(peer('mmpretrain.models.backbones').AlexNet())
    ours = AlexNet()
    ours.load_state_dict(theirs.state_dict())
    assert_same_gradients(ours, theirs, lambda x: maps_of(theirs, x), torch.rand(2, 3, 75, 64))


def test_the_signature_begins_as_mmpretrains(peer):
    theirs = inspect.signature(peer('mmpretrain.models.backbones').AlexNet).parameters
    ours = inspect.signature(AlexNet).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert all(ours[name].default == theirs[name].default for name in theirs)


def test_dropout_is_the_given_share():
    with torch.device('meta'):
        net = AlexNet(num_classes=5, drop_rate=0.25)
    assert [m.p for m in net.modules() if isinstance(m, torch.nn.Dropout)] == [0.25, 0.25]
