"""ShuffleNetV2's own: mmpretrain's signature and freezing, and its unit."""

import inspect

import pytest
import torch

from mmblocks import ShuffleNetV2
from mmblocks.layers import ShuffleUnitV2, channel_shuffle
from tests.parity import assert_same_maps, randomise

ALL = (0, 1, 2, 3)


@pytest.fixture(scope='module')
def mmpretrain(peer):
    return peer('mmpretrain.models.backbones').ShuffleNetV2


def test_its_arguments_are_mmpretrains_and_in_channels(mmpretrain):
    ours, his = (list(inspect.signature(c).parameters.values()) for c in (ShuffleNetV2, mmpretrain))
    assert [(p.name, p.default) for p in ours[: len(his)]] == [(p.name, p.default) for p in his]
    assert [p.name for p in ours[len(his) :]] == ['in_channels', 'plugins', 'replace_convs']


def test_torchvisions_weights_load_below_a_detector_and_without_the_last_convolution(peer):
    theirs = randomise(peer('torchvision.models').shufflenet_v2_x0_5())
    ours = ShuffleNetV2(0.5, out_indices=ALL).eval()
    ours.load_state_dict(theirs.state_dict())
    detector = torch.nn.ModuleDict(dict(backbone=ShuffleNetV2(0.5, out_indices=(0, 1, 2))))
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
