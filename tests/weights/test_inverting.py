"""Rename rules turned round."""

import pytest

from mmblocks.weights.inverting import CannotBeWritten, invert_keys
from mmblocks.weights.key_mapping import KeyMapping


def inverted(keys, *rules, marker='', **options):
    mapping = KeyMapping('theirs', marker, rules, **options)
    return invert_keys(keys, mapping, [mapping])


@pytest.mark.parametrize(
    ('pattern', 'replacement', 'ours', 'theirs'),
    [
        (r'stem\.', 'conv1.', 'conv1.weight', 'stem.weight'),
        (r'res(\d+)\.', r'layer\1.', 'layer12.bias', 'res12.bias'),
        (r'b(\d)_(\d)\.', r'x\2.\1.', 'x2.1.bias', 'b1_2.bias'),
        (r'(norm|conv)\.([12])\.', r'\1\2.', 'conv2.weight', 'conv.2.weight'),
        (r'(a\.\d)\.fc', r'\1.se.fc', 'a.3.se.fc.bias', 'a.3.fc.bias'),
        (r'(\d)\.', r'\1.\1.', '2.2.bias', '2.bias'),
        (r'a-b\[0\]\+', 'c', 'c.bias', 'a-b[0]+.bias'),
        # What may stand there or not, stands there; of several, the first one does.
        (r'in\.(?:0\.)?', 'lateral.', 'lateral.bias', 'in.0.bias'),
        (r'in\.(?:bn|\w+)\.', 'norm.', 'norm.bias', 'in.bn.bias'),
        (r'(?:x|y)(?:1)?z', 'w', 'w', 'x1z'),
        (r'(x|y)\.z', 'w', 'w', 'x.z'),
    ],
)
def test_a_rule_is_turned_round(pattern, replacement, ours, theirs):
    assert inverted([ours], (pattern, replacement)) == {ours: theirs}


def test_names_may_swap():
    rules = ((r'a\.', 'b.'), (r'b\.', 'a.'))
    assert inverted(['a.bias', 'b.bias'], *rules) == {'a.bias': 'b.bias', 'b.bias': 'a.bias'}


def test_the_rule_that_says_more_is_the_one_to_write():
    rules = ((r'conv\.', 'stem.'), (r'bn\.', 'stem.7.'))
    keys = ['stem.0.weight', 'stem.7.weight']
    assert list(inverted(keys, *rules).values()) == ['conv.0.weight', 'bn.weight']


def test_what_may_be_left_out_is_where_another_rule_has_the_longer_name():
    rules = ((r'a1\.', 'q.'), (r'a(?:1)?\.', 'b.'))
    assert inverted(['b.bias', 'q.bias'], *rules) == {'b.bias': 'a.bias', 'q.bias': 'a1.bias'}


def test_what_a_layout_drops_is_left_out():
    assert inverted(['a.bias', 'fc.bias'], (r'b\.', 'a.'), (r'fc\.', None)) == {
        'a.bias': 'b.bias',
        'fc.bias': None,
    }


@pytest.mark.parametrize(
    ('rules', 'key', 'message'),
    [
        # A name that no rule makes, and that would be made another one.
        ([(r'a\.', 'b.')], 'a.bias', 'no name for a.bias'),
        # It cannot be told what stood there.
        ([(r'a\.\w+\.', 'b.'), (r'b\.', 'c.')], 'b.bias', 'no name for b.bias'),
        ([(r'a\w\.', 'b.'), (r'b\.', 'c.')], 'b.bias', 'no name for b.bias'),
    ],
)
def test_a_name_that_there_is_not_is_an_error(rules, key, message):
    with pytest.raises(CannotBeWritten, match=message):
        inverted([key], *rules)


def test_names_that_would_be_taken_for_others_are_an_error():
    other = KeyMapping('other', r'b\.', [(r'b\.', 'a.')])
    theirs = KeyMapping('theirs', r'never', [(r'b\.', 'a.')])
    with pytest.raises(CannotBeWritten, match='taken for those of another mapping'):
        invert_keys(['a.bias'], theirs, [other, theirs])
    with pytest.raises(CannotBeWritten, match='would not load as what they are'):
        invert_keys(['a.bias'], theirs, [theirs])


def test_names_that_nothing_renames_need_no_marker():
    mapping = KeyMapping('theirs', r'never', [(r'b\.', 'c.')])
    assert invert_keys(['a.bias'], mapping, [mapping]) == {'a.bias': 'a.bias'}


def test_rules_that_depend_on_the_names_are_written_by_those_that_are_declared():
    def rules(keys):
        return [(r'x', 'b')] if 'x.bias' in keys else []

    mapping = KeyMapping('theirs', r'x', rules, written=[(r'x', 'b')])
    assert invert_keys(['b.bias'], mapping, [mapping]) == {'b.bias': 'x.bias'}
    with pytest.raises(CannotBeWritten, match='depend on each other'):
        invert_keys(['b.bias'], mapping._replace(written=None), [mapping])


def test_a_refused_layout_cannot_be_written():
    with pytest.raises(CannotBeWritten, match='another pool'):
        inverted(['a'], refused='another pool')
