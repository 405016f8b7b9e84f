"""A plain pickle gives arrays or one line: no code, no crash, no more memory than it has bytes."""

import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
import torch

from mmblocks.utils.errors import UserError
from mmblocks.weights.array_pickles import read_array_pickle


def read(content, tmp_path):
    (tmp_path / 'a.pkl').write_bytes(content)
    return read_array_pickle(tmp_path / 'a.pkl')


def refusal(content, tmp_path):
    with pytest.raises(UserError) as caught:
        read(content, tmp_path)
    message = str(caught.value)
    assert '\n' not in message
    assert message.startswith(str(tmp_path))
    return message


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('code', ['?', 'i1', 'u1', 'i2', 'i8', 'f2', 'f4', 'f8', '>f4', '>i8'])
def test_arrays_of_numbers_are_read_whatever_their_order(code, protocol, tmp_path):
    rows = np.arange(6).reshape(2, 3).astype(code)
    arrays = dict(rows=rows, columns=np.asfortranarray(rows), turned=rows.T, one=rows[0, :1])
    arrays |= dict(none=rows[:0], number=np.array(rows[0, 1]), scalar=rows[1, 1], many=[rows])
    loaded = read(pickle.dumps(OrderedDict(model=arrays), protocol), tmp_path)['model']
    for name in ('rows', 'columns', 'turned', 'one', 'none', 'number'):
        assert loaded[name].shape == arrays[name].shape
        assert np.array_equal(loaded[name].numpy(), arrays[name])
    assert loaded['scalar'] == rows[1, 1]


def test_an_array_under_two_names_is_one_tensor(tmp_path):
    array = np.ones(3)
    loaded = read(pickle.dumps(dict(a=array, b=array, c=np.ones(3))), tmp_path)
    assert loaded['a'] is loaded['b'] is not loaded['c']


@pytest.mark.parametrize('flags', [0, 1, 2, 4, 63, -1])
def test_the_state_of_a_dtype_makes_no_pointers_of_bytes(flags, tmp_path):
    """This crashed the process."""
    content = (
        b'\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
        b'(K\x01K\x02\x85cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R'
        b'(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff' + num(flags) + b'tb'
        b'\x89C\x10' + b'\x41' * 16 + b'tb.'
    )
    assert 'is neither numbers nor text' in refusal(content, tmp_path)
    floats = content.replace(b'O8', b'f8')
    assert read(floats, tmp_path).dtype == torch.float64


def num(value):
    return b'J' + struct.pack('<i', value)


class Call:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Thing:
    pass


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize(
    ('value', 'named'),
    [
        (Call(os.system, 'true'), f'{os.system.__module__}.system'),
        (Call(getattr, dict, 'get'), 'getattr'),
        (Call(np.load, 'x'), 'load'),
        (Thing(), ''),
        ({1, 2}, ''),
        (np.array([Thing()], dtype=object), ''),
        (np.array(['2020-01-01'], dtype='M8'), 'neither numbers nor text'),
        (np.zeros(2, 'i4,i4'), 'neither numbers nor text'),
        (np.zeros(2, 'c16'), 'neither numbers nor text'),
        (torch.ones(2), 'is a plain pickle of tensors; save them by torch.save'),
        (torch.float32, ''),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_else_is_pickled_is_refused_in_one_line(value, named, protocol, tmp_path):
    assert named in refusal(pickle.dumps(dict(a=value), protocol), tmp_path)


def nested(times, write=b'0h\x00h\x00\x86q\x00'):
    return b'\x80\x02K\x01\x85q\x00' + write * times


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'\x80\x02i' + b'os\nsystem\n.', ''),
        (b'\x80\x02(cos\nsystem\nX\x04\x00\x00\x00trueo.', 'os.system'),
        (b'\x80\x04\x8c\x02os\x8c\x06system\x93.', 'os.system'),
        (b'\x80\x02\x82\x01.', ''),
        (b'\x80\x02P1\n.', ''),
        (b'\x80\x02K\x01Q.', ''),
        (b'\x80\x02cnumpy\nndarray\n)\x81.', ''),
        (b'\x80\x02cnumpy\nndarray\n)R.', None),
        (b'\x80\x02cnumpy\nndarray\n(K\x02tR.', ''),
        (b'\x80\x02cnumpy\ndtype\nN}X\x01\x00\x00\x00aK\x01s\x86b.', 'gives a state to a type'),
        (
            b'\x80\x02c_codecs\nencode\nN}X\x08\x00\x00\x00__code__K\x01s\x86b.',
            'gives a state to a',
        ),
        (b'\x80\x02K\x01K\x02R.', 'a call of what is no function'),
        (b'\x80\x02h\x05.', ''),
        (b'\x80\x02r\xff\xff\xff\xff.', ''),
        (b'\x80\x02K\x01r\xff\xff\xff\xff.', None),  # one number, kept under a high one
        (b'\x80\x02' + b'0' * 100, ''),
        (b'\x80\x02' + b'(' * 100_000 + b't' * 100_000 + b'.', None),
        (b'\x80\x02)' + b'\x85' * 100_000 + b'.', None),
        (b'\x80\x02}' + b'X\x01\x00\x00\x00a}' * 10_000 + b's' * 10_000 + b'.', None),
        (b'\x80\x02\x8b' + struct.pack('<i', 2**31 - 1) + b'\xff.', ''),
        (b'\x80\x02\x8b' + struct.pack('<i', -1) + b'\xff.', ''),
        (b'\x80\x04\x8d' + struct.pack('<Q', 2**62) + b'x.', ''),
        (b'\x80\x04\x8e' + struct.pack('<Q', 2**63) + b'x.', ''),
        (b'\x80\x05\x96' + struct.pack('<Q', 2**40) + b'x.', ''),
        (b'\x80\x05\x95' + struct.pack('<Q', 2**62) + b'x.', ''),
        (b'\x80\x05\x97.', ''),
        (b'I' + b'9' * 100_000 + b'\n.', ''),
        (nested(60) + b'.', None),
        (b'\x80\x02}' + nested(60)[2:] + b'K\x01s.', 'a key in it is a tuple'),
        (b'\x80\x02(' + nested(60)[2:] + b'K\x01d.', 'a key in it is a tuple'),
        (b'\x80\x02]K\x01K\x02s.', 'puts items into a list'),
        (b'.', ''),
        (b'\x80\x02', ''),
    ],
)
def test_a_pickle_made_by_hand_gives_data_or_one_line(content, said, tmp_path):
    """None for said: it is data."""
    if said is None:
        read(content, tmp_path)
    else:
        assert said in refusal(content, tmp_path)


def test_the_same_bytes_do_not_become_many_arrays(tmp_path):
    text = b'X' + struct.pack('<I', 100_000) + b'x' * 100_000 + b'q\x00'
    again = b'c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R'
    content = b'\x80\x02' + text + again * 2 + b'.'
    assert 'stand for many arrays' in refusal(content, tmp_path)
