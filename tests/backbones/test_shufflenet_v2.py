"""ShuffleNetV2: equal to mmpretrain's and torchvision's."""

import inspect

import pytest
import torch

from mmblocks import ShuffleNetV2
from mmblocks.layers import ShuffleUnitV2, channel_shuffle
from tests.parity import assert_same_maps, gradients, randomise

FACTORS = (0.5, 1.0, 1.5, 2.0)
ALL = (0, 1, 2, 3)


@pytest.fixture(scope='module')
def mmpretrain(peer):
    return peer('mmpretrain.models.backbones').ShuffleNetV2


def mmpretrain_pair(mmpretrain, *args, **options):
    theirs = randomise(mmpretrain(*args, out_indices=ALL, **options))
    theirs.eval()  # gives nothing back
    ours = ShuffleNetV2(*args, out_indices=ALL, **options).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def torchvision_pair(peer, factor):
    name = f'shufflenet_v2_x{str(factor).replace(".", "_")}'
    theirs = randomise(getattr(peer('torchvision.models'), name)(num_classes=1)).eval()
    ours = ShuffleNetV2(factor, out_indices=ALL).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def torchvision_maps(model, x):
    x = model.maxpool(model.conv1(x))
    maps = []
    for stage in (model.stage2, model.stage3, model.stage4, model.conv5):
        x = stage(x)
        maps.append(x)
    return maps


def assert_same_gradients(ours, theirs):
    (grads, dx), (their_grads, their_dx) = ours, theirs
    torch.testing.assert_close(dx, their_dx, rtol=1e-8, atol=1e-8 * their_dx.abs().max().item())
    assert len(grads) == len(their_grads)
    for grad, expected in zip(grads.values(), their_grads.values(), strict=True):
        scale = max(1, expected.abs().max().item())
        torch.testing.assert_close(grad, expected, rtol=1e-8, atol=1e-8 * scale)


def test_its_arguments_are_mmpretrains_and_in_channels(mmpretrain):
    ours, his = (list(inspect.signature(c).parameters.values()) for c in (ShuffleNetV2, mmpretrain))
    assert [(p.name, p.default) for p in ours[: len(his)]] == [(p.name, p.default) for p in his]
    assert [p.name for p in ours[len(his) :]] == ['in_channels', 'plugins']


@pytest.mark.parametrize('factor', FACTORS)
def test_it_equals_mmpretrain(factor, mmpretrain):
    ours, theirs = mmpretrain_pair(mmpretrain, factor)
    x = torch.rand(2, 3, 75, 97)
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


@pytest.mark.parametrize('factor', FACTORS)
def test_it_equals_torchvision(factor, peer):
    ours, theirs = torchvision_pair(peer, factor)
    x = torch.rand(2, 3, 75, 97)
    with torch.no_grad():
        assert_same_maps(ours(x), torchvision_maps(theirs, x))


def test_gradients_equal_mmpretrains(mmpretrain):
    ours, theirs = mmpretrain_pair(mmpretrain, 0.5)
    ours.double().train()
    theirs.double()
    theirs.train()
    x = torch.rand(2, 3, 75, 97, dtype=torch.float64)
    assert_same_gradients(gradients(ours, ours, x), gradients(theirs, theirs, x))


def test_gradients_equal_torchvisions(peer):
    ours, theirs = torchvision_pair(peer, 0.5)
    x = torch.rand(2, 3, 75, 97, dtype=torch.float64)
    assert_same_gradients(
        gradients(ours.double().train(), ours, x),
        gradients(theirs.double().train(), lambda x: torchvision_maps(theirs, x), x),
    )


def test_torchvisions_weights_load_below_a_detector_and_without_the_last_convolution(peer):
    factor = 0.5
    ours, theirs = torchvision_pair(peer, factor)
    detector = torch.nn.ModuleDict(dict(backbone=ShuffleNetV2(factor, out_indices=(0, 1, 2))))
    state = {f'backbone.{name}': tensor for name, tensor in theirs.state_dict().items()}
    missing, unexpected = detector.load_state_dict(state, strict=False)
    assert missing == []
    assert {key.split('.')[2] for key in unexpected} == {'3'}
    x = torch.rand(1, 3, 64, 64)
    assert_same_maps(detector.eval()['backbone'](x), ours(x)[:3])


def test_outputs_are_counted_as_in_mmpretrain():
    assert ShuffleNetV2().out_channels == (1024,)
    net = ShuffleNetV2(2.0, out_indices=ALL)
    assert net.out_channels == (244, 488, 976, 2048)
    assert net.out_strides == (8, 16, 32, 32)


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 3])
def test_what_is_frozen_is_what_mmpretrain_freezes(frozen_stages, mmpretrain):
    ours, his = (c(0.5, frozen_stages=frozen_stages) for c in (ShuffleNetV2, mmpretrain))
    his.train()  # mmpretrain freezes only here
    assert {n for n, p in ours.named_parameters() if p.requires_grad} == {
        n for n, p in his.named_parameters() if p.requires_grad
    }


@pytest.mark.parametrize('factor', [0.25, 3, '1.0', None])
def test_a_width_that_was_never_published_is_an_error(factor):
    with pytest.raises(ValueError, match=r'widen_factor=.*0\.5, 1\.0, 1\.5, 2\.0'):
        ShuffleNetV2(factor)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_the_unit_is_its_definition(stride, memory_format):
    unit = randomise(ShuffleUnitV2(12, 12, stride)).eval().to(memory_format=memory_format)
    x = torch.rand(2, 12, 9, 7).to(memory_format=memory_format)
    halves = (
        (unit.branch1(x), unit.branch2(x)) if stride == 2 else (x[:, :6], unit.branch2(x[:, 6:]))
    )
    out = unit(x)
    torch.testing.assert_close(out, channel_shuffle(torch.cat(halves, dim=1), 2))
    assert out.is_contiguous(memory_format=memory_format)


def test_the_net_can_be_captured_as_a_graph():
    net = randomise(ShuffleNetV2(0.5)).eval()
    graph = torch.fx.symbolic_trace(net)
    x = torch.rand(1, 3, 65, 97)
    torch.testing.assert_close(graph(x), net(x))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=12, out_channels=24), 'the same'),
        (dict(in_channels=12, out_channels=12, stride=4), 'stride=4'),
        (dict(in_channels=12, out_channels=25, stride=2), 'even'),
    ],
)
def test_a_unit_that_cannot_be_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        ShuffleUnitV2(**options)
