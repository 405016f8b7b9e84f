"""The fire module against its definition and against torchvision's."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

from mmblocks.layers import FireModule
from tests.parity import assert_same_gradients, assert_same_maps, randomise


def test_it_is_its_definition():
    module = randomise(FireModule(5, 3, 4, 6))
    x = torch.randn(2, 5, 9, 7)
    squeezed = F.conv2d(x, module.squeeze.weight, module.squeeze.bias).relu()
    near = F.conv2d(squeezed, module.expand1x1.weight, module.expand1x1.bias).relu()
    wide = F.conv2d(squeezed, module.expand3x3.weight, module.expand3x3.bias, padding=1).relu()
    assert_same_maps([module(x)], [torch.cat([near, wide], 1)])
    assert module.out_channels == 10


def test_it_equals_torchvisions(peer):
    theirs = randomise(peer('torchvision.models.squeezenet').Fire(5, 3, 4, 6))
    ours = FireModule(5, 3, 4, 6)
    ours.load_state_dict(theirs.state_dict())

    class AsNet(torch.nn.Sequential):
        def forward(self, x):
            return [super().forward(x)]

    ours, theirs = AsNet(ours), AsNet(theirs)
    assert_same_gradients(ours, theirs, theirs, torch.randn(2, 5, 9, 7))


@pytest.mark.parametrize('norm', ['BN', 'GN'])
def test_a_norm_stands_behind_every_convolution(norm):
    norm_cfg = dict(type=norm, num_groups=1) if norm == 'GN' else dict(type=norm)
    module = randomise(FireModule(5, 3, 4, 6, norm_cfg=norm_cfg, act_cfg=dict(type='Tanh'))).eval()
    x = torch.randn(2, 5, 9, 7)
    squeezed = module.squeeze_norm(module.squeeze(x)).tanh()
    near = module.expand1x1_norm(module.expand1x1(squeezed)).tanh()
    wide = module.expand3x3_norm(module.expand3x3(squeezed)).tanh()
    assert_same_maps([module(x)], [torch.cat([near, wide], 1)])
    assert (module.squeeze_norm(x[:, :3]) != x[:, :3]).any()


def test_a_config_can_name_it():
    module = MODELS.build(
        dict(
            type='mmblocks.FireModule',
            in_channels=5,
            squeeze_channels=3,
            expand1x1_channels=4,
            expand3x3_channels=6,
        )
    )
    assert isinstance(module, FireModule)
