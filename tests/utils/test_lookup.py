"""Layers are found by name; a name that is none is answered with those that were meant."""

import pytest

from mmblocks.layers import ModulatedDeformConv2dPack
from mmblocks.utils.lookup import find_layer


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('mmblocks.AKConvv', 'did you mean mmblocks.AKConv'),
        ('mmblocks.AKconv', 'did you mean mmblocks.AKConv'),
        ('mmblocks.ECAA', 'did you mean mmblocks.ECA'),
        ('SELayr', 'did you mean mmblocks.SELayer'),
        ('mmblocks.ContextBlok', 'did you mean ContextBlock'),
        ('mmblocks.Foo', "mmblocks' own are mmblocks.AKConv, mmblocks.CBAM, .*mmblocks.ECA, "),
    ],
)
def test_a_misspelt_name_is_answered_with_those_near_it(name, expected):
    with pytest.raises(ValueError, match=f"plugins: no layer '{name}' is registered; {expected}"):
        find_layer(name, argument='plugins')


@pytest.mark.parametrize('kind', ['mmblocks.ModulatedDeformConv2d', ModulatedDeformConv2dPack])
def test_a_convolution_that_wants_offsets_is_found_in_the_form_that_makes_them(kind):
    assert find_layer(kind, argument='dcn') is ModulatedDeformConv2dPack
