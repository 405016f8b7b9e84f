"""Frozen stages run in their inference form while the rest trains, and nobody notices."""

import copy
import pickle

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn

from mmblocks.inference.fused_conv import FusedConv2d
from tests.backbones.nets import NETS, Net, build, images
from tests.parity import assert_same_maps, randomise

FEW = [net for net in NETS if net.cfg['type'] in ('ResNet', 'GhostNet', 'VGG', 'DenseNet')]
X = (2, 3, 64, 64)


def frozen(net=NETS[0], k=2, **options):
    return randomise(build(net, frozen_stages=k, norm_eval=True, **options)).train()


def outputs_in_eval(net, x):
    """What the modules themselves give, which the mode does not change with norm_eval."""
    other = copy.deepcopy(net).eval()
    with torch.no_grad():
        return other(x)


def runs_fused(net, x):
    """Whether any convolution runs that is no part of the net."""
    calls = []
    hook = nn.modules.module.register_module_forward_hook(lambda m, a, o: calls.append(type(m)))
    try:
        net(x)
    finally:
        hook.remove()
    return FusedConv2d in calls


@pytest.mark.parametrize('net', FEW, ids=str)
def test_the_outputs_are_the_same(net):
    for k in (0, 2):
        backbone, x = frozen(net, k), images(net)
        before = copy.deepcopy(backbone.state_dict())
        maps = backbone(x)
        # Not every net has a stem.
        assert runs_fused(backbone, x) == bool(k or backbone.group_names(0))
        assert_same_maps([m.detach() for m in maps], outputs_in_eval(backbone, x), 1e-4)
        assert backbone.state_dict().keys() == before.keys()
        assert all(torch.equal(before[name], v) for name, v in backbone.state_dict().items())


def test_gradients_reach_what_is_not_frozen_and_nothing_else():
    net, x = frozen(), torch.rand(X)
    plain = copy.deepcopy(net)
    # The frozen modules themselves: something is hooked to one of them.
    plain.layer1[0].register_forward_hook(lambda module, args, out: None)
    assert not runs_fused(plain, x)
    for other in (net, plain):
        sum(m.square().sum() for m in other(x)).backward()
    grads = {name: p.grad for name, p in net.named_parameters()}
    assert {name for name, grad in grads.items() if grad is not None} == {
        name for name in grads if name.startswith(('layer3', 'layer4'))
    }
    expected = [p.grad for p in plain.parameters() if p.grad is not None]
    assert_same_maps([g for g in grads.values() if g is not None], expected, 1e-3)


def test_after_unfreezing_gradients_flow_again():
    net, x = frozen(), torch.rand(X)
    net(x)
    net.set_frozen_stages(-1)
    assert not runs_fused(net, x)
    sum(m.sum() for m in net(x)).backward()
    assert all(p.grad is not None for p in net.parameters())
    net.set_frozen_stages(1)
    assert runs_fused(net, x)


def test_a_frozen_parameter_that_is_set_free_gets_its_gradient():
    net, x = frozen(), torch.rand(X)
    net(x)
    net.layer1[0].conv1.weight.requires_grad_(True)
    sum(m.sum() for m in net(x)).backward()
    assert net.layer1[0].conv1.weight.grad is not None


def test_a_gradient_for_the_images_passes_through():
    net, x = frozen(), torch.rand(X, requires_grad=True)
    sum(m.sum() for m in net(x)).backward()
    assert x.grad.any()


def written(net):
    with torch.no_grad():
        net.bn1.running_mean += 1


@pytest.mark.parametrize(
    'change',
    [
        lambda net: net.load_state_dict(randomise(copy.deepcopy(net), seed=1).state_dict()),
        written,
        lambda net: (
            setattr(net.layer1[0], 'conv1', randomise(nn.Conv2d(8, 8, 3, 1, 1, bias=False)))
            or net.set_frozen_stages(2)
        ),
        lambda net: net.double().float(),
        lambda net: (net.eval(), net.conv1.weight.data.mul_(2), net.train()),
    ],
    ids=['loaded', 'written', 'replaced', 'moved', 'written between two epochs'],
)
def test_it_follows_changes_of_the_frozen_tensors(change):
    net, x = frozen(), torch.rand(X)
    net(x)
    change(net)
    assert_same_maps([m.detach() for m in net(x)], outputs_in_eval(net, x), 1e-4)


def test_copies_and_pickles_and_averages_hold_the_net_alone():
    net, x = frozen(), torch.rand(X)
    bare = len(pickle.dumps(frozen()))
    net(x)
    assert len(pickle.dumps(net)) == pytest.approx(bare, rel=0.01)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_same_maps([m.detach() for m in other(x)], [m.detach() for m in net(x)])
    average = ExponentialMovingAverage(net)
    average.update_parameters(net)
    average.module.eval()
    with torch.no_grad():
        assert_same_maps(average(x), outputs_in_eval(net, x), 1e-4)


def test_in_eval_mode_the_modules_run_themselves():
    net, x = frozen().eval(), torch.rand(X)
    assert not runs_fused(net, x)


def test_plugins_of_frozen_stages_run_as_they_are():
    plugins = [dict(cfg=dict(type='mmblocks.SELayer', ratio=4), position='after_conv2')]
    resnet = Net(dict(type='ResNet', depth=50, base_channels=8), 4)
    for net, options in ((resnet, dict(plugins=plugins)), (NETS[0], dict(with_cp=True))):
        backbone, x = frozen(net, 1, **options), torch.rand(X)
        maps = [m.detach() for m in backbone(x)]
        assert_same_maps(maps, outputs_in_eval(backbone, x), 1e-4)
