"""Layers start in a way of their own, whatever the initialisation config of the net says."""

import pytest
import torch
from mmengine.registry import MODELS
from torch.testing import assert_close

BN = dict(type='BN')
SPECIAL = ('switch', 'weight_diff', '_context', 'offset', 'p_conv')


@pytest.mark.parametrize(
    'net',
    [
        dict(type='mmblocks.ResNet', depth=18, base_channels=8),
        dict(type='mmblocks.MobileNetV2', widen_factor=0.25, out_indices=(1, 2)),
        dict(type='mmblocks.EfficientNet', arch='b0', out_indices=2),
        dict(type='mmblocks.FPN', in_channels=[8, 16], out_channels=8, num_outs=2, norm_cfg=BN),
    ],
    ids=lambda net: net['type'],
)
@pytest.mark.parametrize(
    'kind',
    [
        *('SAC', 'DCN', 'DCNv2', 'mmblocks.DeformConv2d', 'mmblocks.ModulatedDeformConv2d'),
        *('mmblocks.AKConv', dict(type='SAC', use_deform=True)),
    ],
    ids=str,
)
def test_what_a_layer_adds_starts_as_the_layer_says(net, kind):
    conv_cfg = kind if isinstance(kind, dict) else dict(type=kind)
    # The config reaches every convolution, those inside the layers too.
    init_cfg = dict(type='Constant', val=0.5, layer='Conv2d')
    net = MODELS.build(dict(net, conv_cfg=conv_cfg, init_cfg=init_cfg))
    before = {
        name: parameter.clone()
        for name, parameter in net.named_parameters()
        if any(part in name for part in SPECIAL)
    }
    assert before
    net.init_weights()
    after = dict(net.named_parameters())
    assert_close({name: after[name].detach() for name in before}, before, rtol=0, atol=0)


# Of SAC, MMEngine does not know that it is a Conv2d.
@pytest.mark.parametrize('kind', ['ConvAWS', 'ConvWS', 'Conv2dAdaptivePadding'])
@pytest.mark.parametrize('type_', ['ResNet', 'MobileNetV2'])
def test_the_weights_that_a_layer_has_of_a_convolution_are_the_config_s(kind, type_):
    options = dict(depth=18, base_channels=8) if type_ == 'ResNet' else dict(widen_factor=0.25)
    init_cfg = dict(type='Constant', val=0.5, layer='Conv2d')
    net = MODELS.build(
        dict(options, type=f'mmblocks.{type_}', conv_cfg=dict(type=kind), init_cfg=init_cfg)
    )
    net.init_weights()
    swapped = [m for m in net.modules() if isinstance(m, MODELS.get(kind))]
    assert swapped
    assert all((m.weight == 0.5).all() for m in swapped)


class NoInit(torch.nn.Module):
    """A layer that starts as its constructor says, and whose train() returns nothing."""

    def __init__(self, in_channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(in_channels, in_channels, 1)
        torch.nn.init.zeros_(self.conv.weight)

    def train(self, mode=True):
        super().train(mode)

    def forward(self, x):
        return x + self.conv(x)


@pytest.mark.parametrize('net', ['ResNet', 'VGG'])
def test_a_plugin_without_init_weights_starts_as_it_was_built(net):
    plugin = dict(cfg=dict(type=NoInit), position='after_block')
    depth = dict(ResNet=18, VGG=11)[net]
    backbone = MODELS.build(
        dict(type=f'mmblocks.{net}', depth=depth, plugins=[plugin], frozen_stages=2)
    )
    backbone.init_weights()
    plugins = [m for m in backbone.train().modules() if isinstance(m, NoInit)]
    assert len(plugins) > 3
    assert not any(m.conv.weight.any() for m in plugins)
