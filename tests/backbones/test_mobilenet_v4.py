"""MobileNetV4's own: defaults and bad arguments."""

import pytest

from mmblocks import MobileNetV4
from mmblocks.describe.catalog import build_on_meta


@pytest.mark.parametrize(
    ('options', 'channels'),
    [
        (dict(widen_factor=0.35), (16, 24, 32, 336)),
        (dict(arch='conv_small'), (32, 64, 96, 960)),
        (dict(arch='conv_medium'), (48, 80, 160, 960)),
        (dict(arch='conv_large'), (48, 96, 192, 960)),
    ],
)
def test_the_default_gives_the_last_group_of_each_stride(options, channels):
    net = build_on_meta(dict(options, type='MobileNetV4'))
    assert net.out_channels == channels
    assert net.out_strides == (4, 8, 16, 32)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='hybrid_medium'), "arch='hybrid_medium'.*conv_medium"),
        (dict(widen_factor=0), 'widen_factor=0: must be a number above 0'),
        (dict(output_stride=64), 'output_stride=64.*8, 16 or 32'),
        (dict(out_indices=(5,)), 'outputs are 0 to 4'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV4(**options)
