"""Configs of layers are tried on a map before a net is made of them."""

import pytest
import torch

from mmblocks.utils.cfg_problems import activation_problem, conv_problem, norm_problem


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='BN', eps=1e-3, requires_grad=False),
        dict(type='SyncBN'),
        dict(type='GN', num_groups=3),
        dict(type='IN'),
        dict(type=torch.nn.BatchNorm2d),
    ],
    ids=str,
)
def test_norms_of_maps_have_no_problem(cfg):
    assert norm_problem(cfg, 'norm_cfg') is None


@pytest.mark.parametrize('kind', ['ReLU', 'HSwish', 'Swish', 'GELU', 'PReLU', 'SiLU', 'HSigmoid'])
def test_activations_have_no_problem(kind):
    assert activation_problem(dict(type=kind), 'act_cfg') is None


@pytest.mark.parametrize('kind', ['Conv2d', 'SAC', 'ConvAWS', 'DCN', 'DCNv2', 'mmblocks.AKConv'])
def test_convolutions_have_no_problem(kind):
    assert conv_problem(dict(type=kind), 'conv_cfg') is None


def test_trying_leaves_the_random_numbers_alone():
    before = torch.random.get_rng_state()
    conv_problem(dict(type='Conv2d', padding_mode='circular'), 'conv_cfg')
    norm_problem(dict(type='BN', momentum=0.3), 'norm_cfg')
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_changes_the_size_is_no_activation_and_no_norm():
    cfg = dict(type=torch.nn.PixelUnshuffle, downscale_factor=2)
    assert 'does not keep' in activation_problem(cfg, 'act_cfg')
    assert 'cannot take a map' in norm_problem(dict(type='LN'), 'norm_cfg')
    assert 'num_groups is missing' in norm_problem(dict(type='GN'), 'norm_cfg')
