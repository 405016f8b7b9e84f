"""MobileNetV1: equal to timm's, with the published parameter counts."""

import pytest
import torch
from torch import nn

from mmblocks import MobileNetV1
from tests.parity import assert_same_gradients, assert_same_maps, randomise


def timm_maps(model, x):
    """The output of each of timm's stages, and of the head's convolution if there is one."""
    x = model.bn1(model.conv_stem(x))
    maps = []
    for stage in model.blocks:
        x = stage(x)
        maps.append(x)
    if not isinstance(model.conv_head, nn.Identity):
        maps.append(model.bn2(model.conv_head(x)))
    return maps


def timm_net(peer, widen_factor, **options):
    # timm names only some widths; its builder makes all of them.
    build = peer('timm.models.efficientnet')._gen_mobilenet_v1
    return randomise(build('mobilenetv1_100', widen_factor, **options)).eval()


def pair(peer, widen_factor=1.0, head_conv=False, **options):
    theirs = timm_net(peer, widen_factor, head_conv=head_conv, **options)
    outputs = range(6 if head_conv else 5)
    ours = MobileNetV1(widen_factor, outputs, head_conv=head_conv, **options).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize('widen_factor', [0.25, 0.35, 0.5, 0.75, 1.0, 1.25])
def test_it_equals_timm(widen_factor, peer):
    ours, theirs = pair(peer, widen_factor)
    x = torch.rand(2, 3, 75, 97)
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))


@pytest.mark.parametrize('widen_factor', [0.5, 1.25])
def test_with_the_head_convolution_it_equals_timm(widen_factor, peer):
    ours, theirs = pair(peer, widen_factor, head_conv=True)
    x = torch.rand(2, 3, 75, 97)
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))


@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilated_it_equals_timm(output_stride, peer):
    ours, theirs = pair(peer, 0.25, output_stride=output_stride)
    x = torch.rand(2, 3, 75, 97)
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))
    assert ours.out_strides == tuple(min(s, output_stride) for s in (2, 4, 8, 16, 32))


def test_gradients_equal_timms(peer):
    ours, theirs = pair(peer, 0.25)
    assert_same_gradients(ours, theirs, lambda x: timm_maps(theirs, x), torch.rand(2, 3, 75, 97))


@pytest.mark.parametrize(
    ('widen_factor', 'count'), [(0.25, 470072), (0.5, 1331592), (0.75, 2585560), (1.0, 4231976)]
)
def test_parameters_are_those_of_the_published_widths(widen_factor, count):
    """The counts are pytorchcv's, classifier included."""
    with torch.device('meta'):
        net = MobileNetV1(widen_factor)
        classifier = nn.Linear(net.out_channels[-1], 1000)
    assert sum(p.numel() for m in (net, classifier) for p in m.parameters()) == count


def test_the_default_gives_the_last_group_of_each_stride():
    net = MobileNetV1()
    assert net.out_channels == (128, 256, 512, 1024)
    assert net.out_strides == (4, 8, 16, 32)
    assert not hasattr(net, 'conv_head')
    narrow = MobileNetV1(0.5, head_conv=True)
    assert narrow.out_channels == (64, 128, 256, 1024)
    assert narrow.out_strides == (4, 8, 16, 32)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(widen_factor=0), 'widen_factor=0: .*above 0'),
        (dict(widen_factor=-1.0), r'widen_factor=-1.0: .*above 0'),
        (dict(output_stride=4), 'output_stride=4.*8, 16 or 32'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV1(**options)
