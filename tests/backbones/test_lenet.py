"""LeNet-5's own: its arguments and the images that its classifier takes."""

import inspect

import pytest
import torch
from torch.testing import assert_close

from mmblocks import LeNet5


def test_the_arguments_begin_with_the_images_and_the_classes():
    parameters = inspect.signature(LeNet5).parameters
    assert [(name, p.default) for name, p in parameters.items()][:2] == [
        ('in_channels', 1),
        ('num_classes', -1),
    ]


def test_the_default_gives_the_last_map():
    assert LeNet5().out_indices == (2,)


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
