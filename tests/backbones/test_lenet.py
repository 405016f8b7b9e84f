"""LeNet-5: equal to mmpretrain's."""

import inspect

import pytest
import torch
from torch.testing import assert_close

from mmblocks import LeNet5
from tests.parity import assert_same_gradients, assert_same_maps, randomise


def mmpretrain_net(peer):
    theirs = randomise(peer('mmpretrain.models.backbones').LeNet5(num_classes=10))
    theirs.eval()  # mmpretrain's eval() returns nothing
    return theirs


def mmpretrain_outputs(model, x):
    maps = []
    for layers in (model.features[:3], model.features[3:6], model.features[6:]):
        x = layers(x)
        maps.append(x)
    return [*maps, model.classifier(x.squeeze())]


def test_it_equals_mmpretrain(peer):
    theirs = mmpretrain_net(peer)
    ours = LeNet5(num_classes=10, out_indices=(0, 1, 2)).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert_same_maps(ours(x), mmpretrain_outputs(theirs, x))
        assert_same_maps(ours(x)[-1:], theirs(x))


def test_gradients_equal_mmpretrains(peer):
    theirs = mmpretrain_net(peer)
    ours = LeNet5(num_classes=10)
    ours.load_state_dict(theirs.state_dict())
    assert_same_gradients(ours, theirs, theirs, torch.rand(2, 1, 32, 32))


def test_without_classifier_its_weights_are_left_out(peer):
    theirs = mmpretrain_net(peer)
    ours = LeNet5()
    ours.load_state_dict(theirs.state_dict())
    assert ours.out_indices == (2,)
    x = torch.rand(2, 1, 50, 40)
    with torch.no_grad():
        assert_same_maps(ours(x), [theirs.features(x)])


def test_the_arguments_begin_with_the_images_and_the_classes():
    parameters = inspect.signature(LeNet5).parameters
    assert [(name, p.default) for name, p in parameters.items()][:2] == [
        ('in_channels', 1),
        ('num_classes', -1),
    ]


def test_the_classifier_takes_a_batch_of_one():
    assert LeNet5(num_classes=10)(torch.rand(1, 1, 32, 32))[0].shape == (1, 10)


@pytest.mark.parametrize('size', [(28, 28), (32, 36), (31, 32), (64, 64)])
def test_the_classifier_says_which_images_it_takes(size):
    net = LeNet5(num_classes=10)
    with pytest.raises(ValueError, match=rf'{size[0]} x {size[1]} .* takes 32 x 32'):
        net(torch.rand(2, 1, *size))


def test_init_cfg_reaches_every_convolution_and_the_classifier():
    layers = ['Conv2d', 'Linear']
    net = LeNet5(num_classes=10, init_cfg=dict(type='Constant', val=0.5, layer=layers))
    net.init_weights()
    for name, parameter in net.named_parameters():
        if name.endswith('weight'):
            assert_close(parameter, torch.full_like(parameter, 0.5))
