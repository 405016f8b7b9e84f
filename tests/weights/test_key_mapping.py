"""Renaming of foreign keys while they load."""

import pytest
import torch
from torch import nn

from mmblocks.weights import KeyMapping, register_key_mappings, rename_keys

SWAPPED = KeyMapping('swapped', r'theirs_only', [(r'a\.', 'b.'), (r'b\.', 'a.'), (r'theirs', None)])


def test_names_may_swap():
    module = nn.ModuleDict(dict(a=nn.Linear(2, 2, bias=False), b=nn.Linear(2, 2, bias=False)))
    register_key_mappings(module, [SWAPPED])
    ones, twos = torch.ones(2, 2), torch.full((2, 2), 2.0)
    module.load_state_dict({'a.weight': ones, 'b.weight': twos, 'theirs_only': ones})
    assert torch.equal(module['a'].weight, twos)
    assert torch.equal(module['b'].weight, ones)


def test_own_keys_stay_as_they_are():
    assert rename_keys(['a.weight', 'b.weight'], [SWAPPED]) == {}


def test_names_beside_the_module_tell_nothing_about_it():
    part = nn.ModuleDict(dict(a=nn.Linear(2, 2, bias=False), b=nn.Linear(2, 2, bias=False)))
    register_key_mappings(part, [SWAPPED])
    model = nn.ModuleDict(dict(m=part))
    ones, twos = torch.ones(2, 2), torch.full((2, 2), 2.0)
    state = {'m.a.weight': ones, 'm.b.weight': twos, 'x.theirs_only': ones}
    assert model.load_state_dict(state, strict=False).unexpected_keys == ['x.theirs_only']
    assert torch.equal(part['a'].weight, ones)


def test_any_number_of_keys_can_be_dropped():
    dropped = rename_keys(['theirs_only', 'theirs_too', 'c'], [SWAPPED])
    assert dropped == {'theirs_only': None, 'theirs_too': None}


def test_a_callers_state_dict_is_not_changed():
    module = nn.ModuleDict(dict(a=nn.Linear(2, 2, bias=False), b=nn.Linear(2, 2, bias=False)))
    register_key_mappings(module, [SWAPPED])
    state = {'a.weight': torch.ones(2, 2), 'b.weight': torch.ones(2, 2), 'theirs_only': 1}
    module.load_state_dict(state)
    assert list(state) == ['a.weight', 'b.weight', 'theirs_only']


def test_two_keys_of_one_name_are_an_error():
    clash = KeyMapping('clash', 'x', [(r'x', 'z'), (r'y', 'z')])
    with pytest.raises(ValueError, match=r"clash keys.*\['z.weight'\]"):
        rename_keys(['x.weight', 'y.weight'], [clash])
