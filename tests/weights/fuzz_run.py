"""Reads checkpoints that are changed at random: ``python fuzz_run.py COUNT SEED FOLDER``.

Prints a line of JSON: how many were read and refused, and each case of anything else, as bytes in
FOLDER and a line. A crash ends the process.
"""

import faulthandler
import io
import itertools
import json
import pickle
import pickletools
import random
import resource
import signal
import struct
import sys
import traceback
import warnings
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save
from torch import nn

from mmblocks.engine import read_checkpoint
from mmblocks.utils.errors import UserError
from mmblocks.weights.files import extract_state_dict
from mmblocks.weights.filling import load_weights

MEMORY = 12 << 30
SECONDS = 20
# What a file must not reach, as the interpreter's audit hook tells of it.
FORBIDDEN = (
    *(f'os.{what}' for what in ('system', 'exec', 'fork', 'posix_spawn', 'spawn', 'kill', 'mkdir')),
    *(f'os.{what}' for what in ('remove', 'rename', 'rmdir', 'link', 'symlink', 'chmod')),
    *(f'{module}.' for module in ('subprocess', 'shutil', 'socket', 'ctypes', 'webbrowser', 'pty')),
    'code.__new__',
)
MARKER = 'code-ran'


def net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def trained():
    """What MMEngine's Runner writes, in small."""
    state = net().state_dict()
    hub = dict(
        log_scalars={'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])},
        runtime_info=dict(cfg='a = 1', best_score=np.float64(0.5), best_ckpt='best_a.pth'),
        resumed_keys={'train/loss': True},
    )
    meta = dict(epoch=1, iter=2, cfg='a = 1', seed=3, dataset_meta=dict(classes=('a', 'b')))
    optimizer = dict(state={0: dict(m=torch.ones(2))}, param_groups=[dict(lr=0.1, params=[0])])
    return dict(meta=meta, state_dict=state, message_hub=hub, optimizer=optimizer)


def arrays():
    return dict(model=OrderedDict((k, v.numpy()) for k, v in net().state_dict().items()), who='x')


def as_bytes(content, new_format):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=new_format)
    return stream.getvalue()


CORPUS = {
    'pkl': [pickle.dumps(arrays(), protocol) for protocol in (0, 2, 4, 5)],
    'zip': [as_bytes(trained(), True), as_bytes(net().state_dict(), True)],
    'old': [as_bytes(trained(), False), as_bytes(net().state_dict(), False)],
    'safetensors': [save(net().state_dict(), dict(format='pt'))],
}


def text(value):
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def named(module, name):
    return f'c{module}\n{name}\n'.encode()


COMMAND = text(f'touch {MARKER}')
NAMES = [
    ('os', 'system'),
    ('posix', 'system'),
    ('subprocess', 'call'),
    ('builtins', 'eval'),
    ('builtins', 'exec'),
    ('builtins', 'getattr'),
    ('__builtin__', 'getattr'),
    ('builtins', 'bytearray'),
    ('builtins', 'set'),
    ('builtins', 'complex'),
    ('builtins', 'bytes'),
    ('collections', 'OrderedDict'),
    ('collections', 'Counter'),
    ('argparse', 'Namespace'),
    ('pathlib', 'PosixPath'),
    ('mmengine.config.config', 'ConfigDict'),
    ('mmengine.logging.history_buffer', 'HistoryBuffer'),
    ('numpy', 'dtype'),
    ('numpy', 'ndarray'),
    ('numpy.dtypes', 'Float64DType'),
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy._core.multiarray', 'scalar'),
    ('numpy._core.numeric', '_frombuffer'),
    ('_codecs', 'encode'),
    ('torch', 'Tensor'),
    ('torch', 'FloatTensor'),
    ('torch', 'Size'),
    ('torch', 'device'),
    ('torch', 'float32'),
    ('torch', 'FloatStorage'),
    ('torch', 'LongStorage'),
    ('torch', 'QInt8Storage'),
    ('torch.storage', 'UntypedStorage'),
    ('torch.storage', '_load_from_bytes'),
    ('torch.sparse', 'FloatTensor'),
    ('torch.nn.parameter', 'Parameter'),
    ('torch.serialization', '_get_layout'),
    ('torch._tensor', '_rebuild_from_type_v2'),
    ('torch._utils', '_rebuild_tensor'),
    ('torch._utils', '_rebuild_tensor_v2'),
    ('torch._utils', '_rebuild_tensor_v3'),
    ('torch._utils', '_rebuild_parameter'),
    ('torch._utils', '_rebuild_parameter_with_state'),
    ('torch._utils', '_rebuild_qtensor'),
    ('torch._utils', '_rebuild_sparse_tensor'),
    ('torch._utils', '_rebuild_nested_tensor'),
    ('torch._utils', '_rebuild_meta_tensor_no_storage'),
    ('torch._utils', '_rebuild_wrapper_subclass'),
    ('torch._utils', '_rebuild_device_tensor_from_numpy'),
    ('torch._utils', '_rebuild_device_tensor_from_cpu_tensor'),
]
LARGE = (2**31 - 1, -(2**31), -1, 0, 1, 255, 65536)
# Pieces of pickles: whole hostile ones, and single opcodes with high arguments.
PIECES = [
    *(named(*name) for name in NAMES),
    *(named(*name) + COMMAND + b'\x85R' for name in NAMES),
    *(named(*name) + b')R' for name in NAMES),
    *(named(*name) + b')\x81' for name in NAMES),
    b'(ios\nsystem\n',
    b'(' + named('os', 'system') + COMMAND + b'o',
    b'\x8c\x02os\x8c\x06system\x93' + COMMAND + b'\x85R',
    named('numpy', 'dtype') + text('O8') + b'K\x00K\x01\x87R',
    b'(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb',
    b'\x82\x01',
    b'\x92',
    b'Q',
    b'P0\n',
    *(b'J' + struct.pack('<i', n) for n in LARGE),
    *(b'\x8a\x08' + struct.pack('<q', n) for n in (2**62, -(2**62), 2**40)),
    *(b'r' + struct.pack('<I', n) for n in (2**32 - 1, 2**16)),
    *(b'j' + struct.pack('<I', n) for n in (2**32 - 1, 0, 1, 5)),
    *(code + struct.pack('<Q', n) for code in (b'\x8d', b'\x8e', b'\x96') for n in (2**62, 2**40)),
    b'X' + struct.pack('<I', 2**31),
    b'\x8b' + struct.pack('<i', 2**31 - 1),
    b'\x95' + struct.pack('<Q', 2**62),
    *(
        bytes([code])
        for code in b'()]}tRbaseudlN012.\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x94\x97\x98'
    ),
    b'(' * 2000,
    b')' + b'\x85' * 2000,
    b']' * 2000 + b'a' * 1999,
    b'K\x01\x85' + b'2\x86' * 18,
    b'}' + text('a') + b'}s',
]


def opcodes(content):
    """Splits the pickle that bytes begin with into its opcodes; gives those and what follows."""
    positions = [position for _, _, position in pickletools.genops(content)] + [None]
    ends = content.index(b'.', positions[-2]) + 1
    positions[-1] = ends
    pieces = [content[a:b] for a, b in itertools.pairwise(positions)]
    return pieces, content[ends:]


def change_opcodes(rng, content):
    """Changes a pickle opcode by opcode, so that most of it still means something."""
    pieces, rest = opcodes(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        place = rng.randrange(len(pieces))
        kind = rng.randrange(5)
        if kind == 0:
            del pieces[place]
        elif kind == 1:
            pieces.insert(place, rng.choice(PIECES))
        elif kind == 2:
            pieces[place] = rng.choice(PIECES)
        elif kind == 3:
            other = rng.randrange(len(pieces))
            pieces[place], pieces[other] = pieces[other], pieces[place]
        else:
            pieces.insert(place, rng.choice(pieces))
        pieces = pieces or [b'.']
    return b''.join(pieces) + rest


def change_bytes(rng, content):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(content) or 1)
        kind = rng.randrange(6)
        if kind == 0:
            content[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del content[place : place + rng.choice((1, 2, 8, 64))]
        elif kind == 2:
            content[place:place] = rng.randbytes(rng.choice((1, 4, 8)))
        elif kind == 3:
            content = content[:place]
        elif kind == 4:
            size = rng.choice((1, 2, 4, 8))
            content[place : place + size] = (2 ** (8 * size) - rng.choice((1, 2))).to_bytes(size)
        else:
            start = rng.randrange(len(content) or 1)
            content[place:place] = content[start : start + rng.choice((4, 32, 256))]
    return bytes(content)


def rezipped(rng, content):
    """Changes what is in an archive, whose sizes and checksums are right again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in entries if name.endswith('data.pkl'))
    if rng.random() < 0.8:
        entries[name] = change_opcodes(rng, entries[name])
    else:
        other = rng.choice(list(entries))
        entries[other] = change_bytes(rng, entries[other])
        if rng.random() < 0.3:
            del entries[rng.choice(list(entries))]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        for name, value in entries.items():
            archive.writestr(name, value)
    return stream.getvalue()


def other_header(rng, content):
    """Changes the numbers and names in the header of a safetensors file."""
    size = int.from_bytes(content[:8], 'little')
    header = json.loads(content[8 : 8 + size])
    for _ in range(rng.choice((1, 2, 4))):
        entry = header[rng.choice(list(header))]
        key = rng.choice(list(entry) or ['x'])
        odd = (2**62, -1, 0, 10**12, [10**6] * 3, [0, 2**62], [[]], 'F64', 'I8', {}, None, 1.5, [])
        entry[key] = rng.choice(odd)
    changed = json.dumps(header).encode()
    length = rng.choice((len(changed), len(changed), len(changed), 2**62, len(changed) + 8))
    return length.to_bytes(8, 'little') + changed + content[8 + size :]


def old_pickles(rng, content):
    """Changes one of the pickles at the beginning of a file of the old format."""
    done, rest = b'', content
    for _ in range(rng.choice((0, 1, 2, 3, 3, 3, 3, 4, 4))):
        pieces, rest = opcodes(rest)
        done += b''.join(pieces)
    return done + change_opcodes(rng, rest)


STRUCTURED = dict(pkl=change_opcodes, zip=rezipped, old=old_pickles, safetensors=other_header)
SUFFIXES = dict(pkl='.pkl', zip='.pth', old='.pth', safetensors='.safetensors')


def read(path):
    checkpoint = read_checkpoint(str(path))
    load_weights(net(), extract_state_dict(checkpoint, str(path)))


def watch(event, arguments):
    if watch.on and event.startswith(FORBIDDEN):
        watch.seen.append(event)


watch.on, watch.seen = False, []


def expire(*_):
    raise TimeoutError(f'took more than {SECONDS} s')


def main(count, seed, folder):
    faulthandler.enable()
    sys.addaudithook(watch)
    signal.signal(signal.SIGALRM, expire)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter('ignore')
    found, wrong = Counter(), []
    for kind in CORPUS:  # imports what is imported late
        path = folder / f'good{SUFFIXES[kind]}'
        path.write_bytes(CORPUS[kind][0])
        read(path)
    for number in range(count):
        rng = random.Random(f'{seed} {number}')
        kind = rng.choice(list(CORPUS))
        content = rng.choice(CORPUS[kind])
        change = change_bytes if rng.random() < 0.3 else STRUCTURED[kind]
        path = folder / f'case{SUFFIXES[kind]}'
        path.write_bytes(change(rng, content))
        watch.on = True
        signal.alarm(SECONDS)
        try:
            read(path)
            found[f'{kind} read'] += 1
        except UserError as error:
            found[f'{kind} refused'] += 1
            if '\n' in str(error):
                wrong.append(f'{seed} {number} {kind}: several lines: {error}')
        except BaseException:
            wrong.append(f'{seed} {number} {kind}: {traceback.format_exc()[-1500:]}')
        finally:
            signal.alarm(0)
            watch.on = False
        if watch.seen:
            wrong.append(f'{seed} {number} {kind}: ran {watch.seen}')
            watch.seen.clear()
        if (folder / MARKER).exists() or Path(MARKER).exists():
            wrong.append(f'{seed} {number} {kind}: code ran')
            break
    print(json.dumps(dict(found=found, wrong=wrong)))


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
