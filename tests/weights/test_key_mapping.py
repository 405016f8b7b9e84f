"""Renaming of foreign keys while they load, and of ours when they are written."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmblocks import FPN
from mmblocks.describe.catalog import build_on_meta
from mmblocks.describe.table import VARIANTS
from mmblocks.weights import KeyMapping, register_key_mappings, rename_keys
from mmblocks.weights.key_mapping import CannotBeWritten, write_keys
from tests.pairs import one_of_each

SWAPPED = KeyMapping(
    'swapped', r'theirs_only', (('b', 'a'), ('a', 'b')), dropped=('theirs_only', 'theirs_too')
)


def two_layers():
    return nn.ModuleDict(dict(a=nn.Linear(2, 2, bias=False), b=nn.Linear(2, 2, bias=False)))


def test_names_may_swap():
    module = two_layers()
    register_key_mappings(module, [SWAPPED])
    ones, twos = torch.ones(2, 2), torch.full((2, 2), 2.0)
    module.load_state_dict({'a.weight': ones, 'b.weight': twos, 'theirs_only': ones})
    assert torch.equal(module['a'].weight, twos)
    assert torch.equal(module['b'].weight, ones)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_renames_too(copied):
    module = two_layers()
    register_key_mappings(module, [SWAPPED])
    module = copied(module)
    ones, twos = torch.ones(2, 2), torch.full((2, 2), 2.0)
    module.load_state_dict({'a.weight': ones, 'b.weight': twos, 'theirs_only': ones})
    assert torch.equal(module['a'].weight, twos)


def test_own_keys_stay_as_they_are():
    assert rename_keys(['a.weight', 'b.weight'], [SWAPPED]) == {}


def test_names_beside_the_module_tell_nothing_about_it():
    part = two_layers()
    register_key_mappings(part, [SWAPPED])
    model = nn.ModuleDict(dict(m=part))
    ones, twos = torch.ones(2, 2), torch.full((2, 2), 2.0)
    state = {'m.a.weight': ones, 'm.b.weight': twos, 'x.theirs_only': ones}
    assert model.load_state_dict(state, strict=False).unexpected_keys == ['x.theirs_only']
    assert torch.equal(part['a'].weight, ones)


def test_any_number_of_keys_can_be_dropped():
    dropped = rename_keys(['theirs_only', 'theirs_too.weight', 'c'], [SWAPPED])
    assert dropped == {'theirs_only': None, 'theirs_too.weight': None}


def test_a_callers_state_dict_is_not_changed():
    module = two_layers()
    register_key_mappings(module, [SWAPPED])
    state = {'a.weight': torch.ones(2, 2), 'b.weight': torch.ones(2, 2), 'theirs_only': 1}
    module.load_state_dict(state)
    assert list(state) == ['a.weight', 'b.weight', 'theirs_only']


def test_two_keys_of_one_name_are_an_error():
    clash = KeyMapping('clash', 'x', (('z', 'x'), ('z', 'y')))
    with pytest.raises(ValueError, match=r"clash keys.*\['z.weight'\]"):
        rename_keys(['x.weight', 'y.weight'], [clash])


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        ('stem.0.weight', 'conv.0.weight'),
        ('stem.7.weight', 'bn.weight'),  # the longest name counts
        ('stem.70.weight', 'conv.70.weight'),  # cut at dots
        ('stem', 'conv'),
        ('stems.weight', 'stems.weight'),
        ('new.weight', 'first.weight'),  # of several names the first
    ],
)
def test_the_longest_name_in_the_table_is_replaced(ours, theirs):
    pairs = (('stem', 'conv'), ('stem.7', 'bn'), ('new', 'first'), ('new', 'second'))
    mapping = KeyMapping('theirs', '', pairs)
    assert write_keys([ours], mapping, [mapping]) == {ours: theirs}
    assert rename_keys([theirs], [mapping]) == ({theirs: ours} if theirs != ours else {})


def test_a_second_key_can_be_asked_for():
    mapping = KeyMapping('theirs', 'a', (('c', 'a'),), also='b')
    assert rename_keys(['a.x'], [mapping]) == {}
    assert rename_keys(['a.x', 'b.x'], [mapping]) == {'a.x': 'c.x'}


def test_what_has_no_place_there_is_left_out():
    mapping = KeyMapping('theirs', 'b', (('a', 'b'),), dropped=('fc',))
    assert write_keys(['a.bias', 'fc.bias'], mapping, [mapping]) == {
        'a.bias': 'b.bias',
        'fc.bias': None,
    }


def test_keys_that_would_not_load_as_what_they_are_cannot_be_written():
    theirs = KeyMapping('theirs', 'b', (('b', 'a'),))
    with pytest.raises(CannotBeWritten, match=r'theirs has no name for a\.bias'):
        write_keys(
            ['a.bias', 'b.bias'][:1], theirs._replace(marker=''), [theirs._replace(marker='')]
        )
    with pytest.raises(CannotBeWritten, match=r'theirs has no name for b\.bias'):
        write_keys(['b.bias'], theirs, [theirs])  # nothing would tell whose it is
    refused = theirs._replace(refused='another pool')
    with pytest.raises(CannotBeWritten, match='another pool'):
        write_keys(['b.bias', 'b'], refused, [refused._replace(marker='a')])


# The nets in the table of backbones and in that of peers, some with other shortcuts.
DILATED = dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
CONFIGS = [
    *(variant.cfg for variant in VARIANTS),
    *(pair.cfg for pair in one_of_each()),
    *(dict(type='ResNetV1d', depth=depth, **DILATED) for depth in (18, 50)),
    dict(type='ResNetV1d', depth=50, strides=(1, 1, 2, 2)),
    dict(type='ResNet', depth=18, avg_down=True),
    dict(type='SEResNet', depth=18, deep_stem=True, avg_down=True),
    *(
        dict(type=name, num_classes=3, **options)
        for name, options in (
            ('AlexNet', {}),
            ('DenseNet', {}),
            ('EfficientNet', {}),
            ('EfficientNet', dict(arch='es')),
            ('GoogLeNet', {}),
            ('GoogLeNet', dict(aux_logits=False)),
            ('InceptionNeXt', {}),
            ('LeNet5', {}),
            ('NIN', {}),
            ('PreActSEResNet', {}),
            ('SENet', {}),
            ('SqueezeNet', {}),
            ('VGG', dict(depth=11)),
        )
    ),
]
# One of each net and kind of options; sizes make no difference to names.
NECKS = (
    dict(in_channels=[8, 8, 8], out_channels=8, num_outs=3),
    dict(in_channels=[8], out_channels=8, num_outs=1, norm_cfg=dict(type='BN')),
    dict(in_channels=[8] * 4, out_channels=8, num_outs=6, top_block=dict(type='LastLevelP6P7')),
    dict(in_channels=[8] * 5, out_channels=8, num_outs=7, add_extra_convs=True),
)


def wholes():
    for cfg in {str(cfg): cfg for cfg in CONFIGS}.values():
        yield pytest.param(lambda cfg=cfg: build_on_meta(dict(cfg, out_indices=-1)), id=str(cfg))
    for options in NECKS:
        yield pytest.param(lambda options=options: FPN(**options), id=f'FPN {options}')


@pytest.mark.parametrize('build', list(wholes()))
def test_there_and_back_is_the_same_for_every_library_and_no_two_keys_meet(build):
    net = build()
    keys, mappings = list(net.state_dict()), getattr(net, 'key_mappings', ())
    assert rename_keys(keys, mappings) == {}
    accepted = [mapping for mapping in mappings if not mapping.refused]
    written = set()
    for mapping in accepted:
        theirs = [name for _, name in mapping.pairs]
        assert len(set(theirs)) == len(theirs)
        assert not set(theirs) & set(mapping.dropped)
        try:
            there = write_keys(keys, mapping, mappings)
        except CannotBeWritten:
            continue
        written.add(mapping.name)
        names = [name for name in there.values() if name is not None]
        assert len(set(names)) == len(names)
        back = rename_keys(names, mappings)
        assert [back.get(name, name) for name in names] == [key for key in keys if there[key]]
    assert written == {mapping.name for mapping in accepted}


@pytest.mark.parametrize('strides', [(1, 2, 2, 2), (1, 2, 2, 1), (1, 2, 1, 1), (1, 1, 2, 2)])
def test_mmpretrains_shortcuts_are_named_by_the_strides_of_the_net_in_the_file(strides, peer):
    theirs = peer('mmpretrain.models.backbones').ResNetV1d(depth=50, strides=strides)
    same = build_on_meta(dict(type='ResNetV1d', depth=50, strides=strides))
    keys = list(same.state_dict())
    own = next(m for m in same.key_mappings if m.name == 'mmpretrain (deep stem)')
    assert set(write_keys(keys, own, same.key_mappings).values()) == set(theirs.state_dict())
    nets = [same]
    if strides[1] == 2:  # dilated from the end, as is usual
        nets.append(build_on_meta(dict(type='ResNetV1d', depth=50)))
    for net in nets:
        names = list(theirs.state_dict())
        renamed = rename_keys(names, net.key_mappings)
        assert {renamed.get(name, name) for name in names} == set(keys)
