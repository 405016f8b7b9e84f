"""Strides that become dilations."""

import pytest

from mmblocks.backbones.output_stride import limit_strides


@pytest.mark.parametrize(
    ('output_stride', 'expected'),
    [
        (32, [(1, 1, 2), (2, 1, 4), (2, 1, 8), (2, 1, 16), (1, 1, 16), (2, 1, 32), (1, 1, 32)]),
        (16, [(1, 1, 2), (2, 1, 4), (2, 1, 8), (2, 1, 16), (1, 1, 16), (1, 1, 16), (1, 2, 16)]),
        (8, [(1, 1, 2), (2, 1, 4), (2, 1, 8), (1, 1, 8), (1, 2, 8), (1, 2, 8), (1, 4, 8)]),
    ],
)
def test_the_block_after_a_lost_stride_dilates(output_stride, expected):
    blocks = limit_strides((1, 2, 2, 2, 1, 2, 1), output_stride)
    assert [tuple(block) for block in blocks] == expected


@pytest.mark.parametrize('wrong', [0, 4, 12, 64, None])
def test_another_output_stride_is_an_error(wrong):
    with pytest.raises(ValueError, match=r'output_stride=.*8, 16 or 32'):
        limit_strides((2,), wrong)
