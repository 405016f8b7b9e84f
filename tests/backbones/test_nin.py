"""NIN: against its layers written out one by one, and against the published counts."""

import pytest
import torch
import torch.nn.functional as F

from mmblocks import NIN
from tests.parity import assert_same_gradients, assert_same_maps, randomise


def imagenet_outputs(state, x):
    """Caffe's nin_imagenet in plain calls: four maps and the logits."""

    def conv(x, number, **options):
        weight, bias = state[f'features.{number}.weight'], state[f'features.{number}.bias']
        return F.relu(F.conv2d(x, weight, bias, **options))

    one = conv(conv(conv(x, 0, stride=4), 2), 4)
    two = conv(conv(conv(F.max_pool2d(one, 3, 2, ceil_mode=True), 7, padding=2), 9), 11)
    three = conv(conv(conv(F.max_pool2d(two, 3, 2, ceil_mode=True), 14, padding=1), 16), 18)
    four = conv(conv(F.max_pool2d(three, 3, 2, ceil_mode=True), 22, padding=1), 24)
    return [one, two, three, four, conv(four, 26).mean((2, 3))]


def cifar_outputs(state, x):
    """Caffe's net for CIFAR-10 in plain calls: three maps and the logits."""

    def conv(x, number, **options):
        weight, bias = state[f'features.{number}.weight'], state[f'features.{number}.bias']
        return F.relu(F.conv2d(x, weight, bias, **options))

    one = conv(conv(conv(x, 0, padding=2), 2), 4)
    two = conv(conv(conv(F.max_pool2d(one, 3, 2, ceil_mode=True), 8, padding=2), 10), 12)
    three = conv(conv(F.avg_pool2d(two, 3, 2, ceil_mode=True), 16, padding=1), 18)
    return [one, two, three, conv(three, 20).mean((2, 3))]


PLAIN = {'imagenet': imagenet_outputs, 'cifar': cifar_outputs}
SIZES = {'imagenet': (75, 97), 'cifar': (33, 20)}
every_arch = pytest.mark.parametrize('arch', PLAIN)


def with_everything(arch, **options):
    net = NIN(arch, num_classes=5, out_indices=range(len(NIN.arch_settings[arch])), **options)
    return randomise(net)


@every_arch
def test_it_is_its_layers(arch):
    net = with_everything(arch).eval()
    x = torch.rand(2, 3, *SIZES[arch])
    with torch.no_grad():
        assert_same_maps(net(x), PLAIN[arch](net.state_dict(), x))


@every_arch
def test_gradients_are_those_of_its_layers(arch):
    net, twin = with_everything(arch, drop_rate=0.0), with_everything(arch)
    x = torch.rand(1, 3, *SIZES[arch])
    assert_same_gradients(net, twin, lambda x: PLAIN[arch](dict(twin.named_parameters()), x), x)


def test_the_keys_of_the_imagenet_net_are_the_published_ones():
    with torch.device('meta'):
        keys = {key.rsplit('.', 1)[0] for key in NIN(num_classes=1000).state_dict()}
    numbers = (0, 2, 4, 7, 9, 11, 14, 16, 18, 22, 24, 26)
    assert keys == {f'features.{number}' for number in numbers}


def test_the_cifar_net_has_as_many_parameters_as_published():
    with torch.device('meta'):
        net = NIN('cifar', num_classes=10)
    assert sum(p.numel() for p in net.parameters()) == 966_986


@every_arch
def test_without_classifier_the_class_convolution_is_left_out(arch):
    whole = with_everything(arch).eval()
    trunk = NIN(arch)
    # All of the whole net's keys load, in training mode too: there is no dropout.
    trunk.load_state_dict(whole.state_dict())
    assert len(trunk.state_dict()) == len(whole.state_dict()) - 2
    x = torch.rand(2, 3, *SIZES[arch])
    with torch.no_grad():
        assert_same_maps(trunk.train()(x), whole(x)[:-1])


def test_strides():
    assert NIN().out_strides == (4, 8, 16, 32)
    assert NIN('cifar').out_strides == (1, 2, 4)


def test_with_a_classifier_training_drops_out_and_frozen_parts_do_not():
    net = with_everything('cifar')
    x = torch.rand(2, 3, 32, 32)
    assert not torch.equal(net(x)[1], net(x)[1])
    net.set_frozen_stages(3)
    assert torch.equal(net(x)[-1], net(x)[-1])


@pytest.mark.parametrize('arch', ['cifar10', None, ['imagenet']])
def test_an_architecture_that_is_not_there_is_named_with_those_that_are(arch):
    with pytest.raises(ValueError, match=r"arch=.*'imagenet', 'cifar'"):
        NIN(arch)
