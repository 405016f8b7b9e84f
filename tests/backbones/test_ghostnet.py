"""GhostNet's own: defaults and bad arguments."""

import pytest

from mmblocks import GhostNet


def test_the_default_gives_the_last_group_of_each_stride():
    net = GhostNet()
    assert net.out_channels == (24, 40, 112, 160)
    assert net.out_strides == (4, 8, 16, 32)


@pytest.mark.parametrize('width', [0, -1.0, '1'])
def test_a_width_that_cannot_be_is_named(width):
    with pytest.raises(ValueError, match='widen_factor'):
        GhostNet(width)
