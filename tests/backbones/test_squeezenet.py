"""SqueezeNet: equal to torchvision's."""

import pytest
import torch

from mmblocks import SqueezeNet
from tests.parity import assert_same_gradients, assert_same_maps, randomise

# The number of torchvision's layers behind which each of our groups ends.
ENDS = {'1_0': (2, 6, 11, 13), '1_1': (2, 5, 8, 13)}
every_version = pytest.mark.parametrize('version', ENDS)


def torchvision_net(peer, version):
    build = getattr(peer('torchvision.models'), f'squeezenet{version}')
    return randomise(build(num_classes=5, dropout=0.0)).eval()


def torchvision_outputs(model, version, x):
    outs = []
    for i, layer in enumerate(model.features, 1):
        x = layer(x)
        if i in ENDS[version]:
            outs.append(x)
    return [*outs, model.classifier(x).flatten(1)]


@every_version
def test_it_equals_torchvision(version, peer):
    theirs = torchvision_net(peer, version)
    ours = SqueezeNet(version, num_classes=5, out_indices=(0, 1, 2, 3)).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 65, 83)
    with torch.no_grad():
        assert_same_maps(ours(x), torchvision_outputs(theirs, version, x))
        assert_same_maps(ours(x)[-1:], [theirs(x)])


@every_version
def test_gradients_equal_torchvisions(version, peer):
    theirs = torchvision_net(peer, version)
    ours = SqueezeNet(version, num_classes=5, out_indices=(0, 1, 2, 3), drop_rate=0.0)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 64, 64)
    assert_same_gradients(ours, theirs, lambda x: torchvision_outputs(theirs, version, x), x)


def test_without_classifier_its_weights_are_left_out(peer):
    theirs = torchvision_net(peer, '1_1')
    ours = SqueezeNet('1_1')
    ours.load_state_dict(theirs.state_dict())
    assert ours.out_strides == (4, 8, 16)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_same_maps(ours(x), torchvision_outputs(theirs, '1_1', x)[1:-1])


@pytest.mark.parametrize('given', ['1_1', '1.1', '11', 1.1, 11])
def test_a_version_is_known_by_what_a_command_line_makes_of_it(given):
    with torch.device('meta'):
        net = SqueezeNet(given)
        assert net.arch == '1_1'
        assert repr(net) == repr(SqueezeNet('1_1'))


@pytest.mark.parametrize('arch', ['1.2', 1, None, ['1_0']])
def test_a_version_that_is_not_there_is_named_with_those_that_are(arch):
    with pytest.raises(ValueError, match=r"arch=.*'1_0', '1_1'"):
        SqueezeNet(arch)
