"""MobileNetV1's own: published parameter counts, defaults and bad arguments."""

import pytest
import torch
from torch import nn

from mmblocks import MobileNetV1


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
