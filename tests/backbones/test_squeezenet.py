"""SqueezeNet's own: its versions."""

import pytest
import torch

from mmblocks import SqueezeNet


def test_strides():
    assert SqueezeNet('1_1').out_strides == (4, 8, 16)


@pytest.mark.parametrize('given', ['1_1', '1.1', '11', 1.1, 11])
def test_a_version_is_known_by_what_a_command_line_makes_of_it(given):
    with torch.device('meta'):
        net = SqueezeNet(given)
        assert net.arch == '1_1'
        assert repr(net) == repr(SqueezeNet('1_1'))


@pytest.mark.parametrize('arch', ['1.2', 1, None, ['1_0']])
def test_a_version_that_is_not_there_is_named_with_those_that_are(arch):
    with pytest.raises(ValueError, match=r"arch=.*'1_0', '1_1'"):
        SqueezeNet(arch)
