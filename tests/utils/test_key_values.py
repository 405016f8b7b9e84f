"""KEY=VALUE options are MMEngine's where those keep what was written, and strings stay whole."""

import argparse

import pytest
from mmengine.config import DictAction

from mmblocks.utils.key_values import KeyValues, parse_value


@pytest.mark.parametrize(
    'text',
    [
        *('1', '-2', '1_000', '0.5', '1e-3', 'inf', 'true', 'False', 'None', 'none', 'word', ''),
        *('1,2', '1,', '[1,2]', '(1,2)', '(1,)', '[]', '()', '[[1,2],(3,4)]', '[(1,2),[a,b],c]'),
        *('(1,2),(3,4),5', 'a.b/c-d_e', '(a).pth', 'a(1).pth', 's3://x/y', "it's"),
    ],
)
def test_values_are_read_as_mmengine_reads_them(text):
    expected = DictAction._parse_iterable(text)
    assert parse_value(text) == expected
    assert type(parse_value(text)) is type(expected)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('/a b/c.pth', '/a b/c.pth'),
        ('/a  b/(c) [d].pth', '/a  b/(c) [d].pth'),
        (' word ', 'word'),
        ('[a b, c  d]', ['a b', 'c  d']),
        ("'/a,b.pth'", '/a,b.pth'),
        ('"/a,b.pth"', '/a,b.pth'),
        ("'1'", '1'),
        ("'[1]'", '[1]'),
        ("'", "'"),
        ("it's,Tom's", ["it's", "Tom's"]),
        ('[\'a,b\', (1, "c ]")]', ['a,b', (1, 'c ]')]),
        ('(old) a/(1)', '(old) a/(1)'),
    ],
)
def test_strings_keep_what_is_in_them(text, expected):
    assert parse_value(text) == expected


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a=dict(type=BN,eps=1)', 'dict(type=BN,eps=1) is a dict; write KEY.a=1 for KEY=dict(a=1)'),
        (
            "a={'b': 1}",
            "--options takes KEY=VALUE pairs, not a={'b': 1}: {'b': 1} is a dict; write KEY.a=1",
        ),
        ('a=[1,dict(b=1)]', 'dict(b=1) is a dict'),
        ('a=[1,2', 'pairs, not a=[1,2: [1,2 begins with [ that is not closed'),
        ('a=(1,[2)', 'is not closed'),
        ('a=(1]', 'is not closed'),
        ('a', "--options takes KEY=VALUE pairs, not ['a']"),
        ('=1', "--options takes KEY=VALUE pairs, not ['=1']"),
    ],
)
def test_what_is_no_pair_or_no_value_is_said(text, expected, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=KeyValues)
    with pytest.raises(SystemExit):
        parser.parse_args(['--options', text])
    assert expected in capsys.readouterr().err.splitlines()[-1]


def test_pairs_of_several_options_add_up():
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=KeyValues)
    args = parser.parse_args(['--options', 'a=1', 'b=x=y', '--options', 'a=2', 'c= '])
    assert args.options == {'a': 2, 'b': 'x=y', 'c': ''}
