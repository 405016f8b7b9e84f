"""What is wrong with a checkpoint is said in one line, and no code in it runs on any way."""

import hashlib
import http.server
import json
import os
import pickle
import re
import shutil
import socket
import struct
import tempfile
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from safetensors.torch import save_file
from torch import nn

from mmblocks.engine import UserError, guard_loaders, read_checkpoint
from mmblocks.weights import torchvision_scheme
from mmblocks.weights.files import extract_state_dict, weights_only


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}',)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / 'good.pth'
    torch.save(dict(state_dict=nn.Linear(64, 64).state_dict(), meta=dict(epoch=1)), path)
    return path


@pytest.fixture
def evil(tmp_path):
    path, marker = tmp_path / 'evil.pth', tmp_path / 'code-ran'
    torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=Evil(marker)), path)
    yield path
    assert not marker.exists()


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_checkpoint(str(path))
    message = str(caught.value)
    assert '\n' not in message
    assert str(path) in message
    return message


def test_a_good_checkpoint_is_read(good):
    assert read_checkpoint(str(good))['meta'] == dict(epoch=1)


def test_a_checkpoint_of_the_old_format_is_read(good, tmp_path):
    content = torch.load(good)
    torch.save(content, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    read = read_checkpoint(str(tmp_path / 'old.pth'))
    assert torch.equal(read['state_dict']['weight'], content['state_dict']['weight'])


def test_a_missing_file_is_answered_with_near_ones(good, tmp_path):
    assert refusal(tmp_path / 'god.pth').endswith('did you mean good.pth?')
    assert f'the latest checkpoint in it is {good}' in refusal(tmp_path)


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'', 'is empty (0 bytes)'),
        (b'<!DOCTYPE html>\n<html>Forbidden</html>', 'is a web page'),
        (b'\n <html><body>', 'is a web page'),
        (b'\xef\xbb\xbf<title>Sign in</title>', 'is a web page'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'is a Git LFS pointer'),
        (b'hello world\n', 'is no checkpoint that torch can read'),
        (b'\x00' * 1000, 'is no checkpoint that torch can read'),
    ],
)
def test_what_is_no_checkpoint_is_recognised(content, expected, tmp_path):
    (tmp_path / 'a.pth').write_bytes(content)
    assert expected in refusal(tmp_path / 'a.pth')


@pytest.mark.parametrize('part', [0.02, 0.5, 0.99])
def test_a_truncated_file_is_recognised(part, good):
    content = good.read_bytes()
    good.write_bytes(content[: int(len(content) * part)])
    assert 'is truncated: its end is missing' in refusal(good)


@pytest.mark.parametrize('part', [0.03, 0.5, 0.99])
def test_a_truncated_file_of_the_old_format_is_recognised(part, good, tmp_path):
    torch.save(torch.load(good), tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    content = (tmp_path / 'old.pth').read_bytes()
    (tmp_path / 'old.pth').write_bytes(content[: int(len(content) * part)])
    assert 'is truncated or damaged' in refusal(tmp_path / 'old.pth')


def test_flipped_bytes_inside_are_recognised(good):
    with zipfile.ZipFile(good) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(good.read_bytes())
    content[largest.header_offset + 1000] ^= 255
    good.write_bytes(content)
    assert f'the checksum of {largest.filename}' in refusal(good)


def test_flipped_bytes_in_the_directory_of_an_archive_are_recognised(good):
    content = bytearray(good.read_bytes())
    content[content.rindex(b'PK\x01\x02')] ^= 255
    good.write_bytes(content)
    assert 'is truncated or damaged' in refusal(good)


def test_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(a=torch.ones(3)), tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_checkpoint(str(tmp_path / 'a.pth'))['a'], torch.ones(3))


def test_what_is_no_file_is_not_opened(good, tmp_path):
    os.mkfifo(tmp_path / 'fifo.pth')
    os.symlink('loop.pth', tmp_path / 'loop.pth')
    os.symlink('gone.pth', tmp_path / 'broken.pth')
    place = socket.socket(socket.AF_UNIX)
    place.bind(os.path.relpath(tmp_path / 'socket.pth'))
    place.close()
    for path in (tmp_path / 'fifo.pth', tmp_path / 'socket.pth', '/dev/zero'):
        assert 'is a device, pipe or socket, not a checkpoint' in refusal(path)
    assert 'is a link that leads back to itself' in refusal(tmp_path / 'loop.pth')
    assert 'is a link to gone.pth, which is not there' in refusal(tmp_path / 'broken.pth')
    assert f'the latest checkpoint in it is {good}' in refusal(tmp_path)
    assert 'checkpoint not found' in refusal(good / 'inside.pth')
    assert 'File name too long' in refusal(tmp_path / ('x' * 300))


@pytest.fixture
def nobody():
    """The rights of a user without any, as root may read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


def test_what_may_not_be_read_is_said(good, request):
    # Not in tmp_path, whose parents nobody else may enter.
    with tempfile.TemporaryDirectory() as name:
        folder, weights = Path(name, 'closed'), Path(name, 'good.pth')
        folder.mkdir()
        for place in (folder, weights):
            shutil.copy(good, place)
        Path(name).chmod(0o755)
        weights.chmod(0)
        folder.chmod(0)
        request.getfixturevalue('nobody')
        for path in (weights, folder / 'good.pth', folder / 'gone.pth'):
            assert refusal(path) == f'cannot read {path}: Permission denied'
        assert refusal(folder) == f'{folder} is a folder, not a checkpoint'
        os.seteuid(os.getuid())


def old_format(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def test_tensors_without_values_in_a_file_of_the_old_format_are_no_weights(tmp_path):
    """torch leaves the memory of those as it is that the list of keys behind them lacks."""
    path = tmp_path / 'old.pth'
    content = old_format(dict(a=torch.ones(300), b=torch.ones(4)), path)
    start = content.rindex(b'\x80\x02]')
    keys = pickle.loads(content[start:])
    values = content[content.index(b'.', start) + 1 :]
    for listed, left in (([], values), ([], b''), (keys[:1], values), (keys[1:], values)):
        path.write_bytes(content[:start] + pickle.dumps(listed, 2) + left)
        assert 'damaged' in refusal(path)
    path.write_bytes(content[:start] + pickle.dumps(['no key', *keys], 2) + values)
    assert "'no key' not found" in refusal(path)
    path.write_bytes(content)
    assert torch.equal(read_checkpoint(str(path))['a'], torch.ones(300))


def test_an_archive_that_is_larger_than_its_file_is_refused(good, tmp_path):
    with zipfile.ZipFile(good) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(tmp_path / 'a.pth', 'w', zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    assert 'is a compressed archive, not a checkpoint; unpack it' in refusal(tmp_path / 'a.pth')
    # A directory in which all parts are the largest one.
    content = good.read_bytes()
    ends = content.rindex(b'PK\x05\x06')
    start = int.from_bytes(content[ends + 16 : ends + 20], 'little')
    entry = next(
        content[start:][m.start() :]
        for m in re.finditer(b'PK\x01\x02', content[start:])
        if b'data/0' in content[start:][m.start() :][:100]
    )
    names = int.from_bytes(entry[28:30], 'little')
    size = 46 + names + int.from_bytes(entry[30:32], 'little')
    many = b''.join(
        entry[:46] + f'{number:0{names}}'.encode() + entry[46 + names : size] for number in range(9)
    )
    end = bytearray(content[ends:])
    end[8:16] = struct.pack('<HHI', 9, 9, len(many))
    (tmp_path / 'b.pth').write_bytes(content[:start] + many + end)
    assert 'the parts of it are larger than it is' in refusal(tmp_path / 'b.pth')


def test_torchscript_is_told_apart(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / 'a.pth')
    assert 'is TorchScript, not a checkpoint' in refusal(tmp_path / 'a.pth')


@pytest.mark.parametrize('content', [[1, 2], dict(meta=1), torch.ones(2), dict(state_dict={})])
def test_a_file_without_weights_is_recognised(content, tmp_path):
    torch.save(content, tmp_path / 'a.pth')
    assert 'holds no weights' in refusal(tmp_path / 'a.pth')


def test_weights_are_looked_for_two_names_deep_and_no_deeper(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(ema=dict(module=dict(a=torch.ones(2)))), path)
    assert extract_state_dict(read_checkpoint(str(path)), str(path)).keys() == {'a'}
    torch.save(dict(ema=dict(module=dict(model=dict(a=torch.ones(2))))), path)
    assert 'holds no weights' in refusal(path)
    endless = {}
    endless['model'] = endless
    torch.save(endless, path)
    assert 'holds no weights' in refusal(path)


def test_the_error_about_a_file_without_weights_says_what_is_in_it(tmp_path):
    torch.save(dict(teacher=dict(a=torch.ones(2)), epoch=3), tmp_path / 'a.pth')
    assert 'a dict of teacher, epoch; they are looked for in it' in refusal(tmp_path / 'a.pth')


def test_code_in_a_checkpoint_is_refused_by_name(evil):
    assert f'is refused: it asks for {os.system.__module__}.system' in refusal(evil)


def test_code_behind_getattr_is_refused(tmp_path):
    class Behind:
        def __reduce__(self):
            return getattr, (torch.Tensor, '__init_subclass__')

    torch.save(dict(a=torch.ones(1), b=Behind()), tmp_path / 'a.pth')
    assert "is refused: it asks for getattr(<class 'torch.Tensor'>" in refusal(tmp_path / 'a.pth')


def test_a_plain_pickle_with_code_is_refused(tmp_path):
    marker = tmp_path / 'code-ran'
    for protocol in (0, 2, 5):
        (tmp_path / 'a.pkl').write_bytes(pickle.dumps(Evil(marker), protocol))
        refusal(tmp_path / 'a.pkl')
    assert not marker.exists()


def test_mmengines_own_loaders_are_guarded(evil, good):
    guard_loaders()
    guard_loaders()
    with pytest.raises(UserError, match='is refused'):
        load_checkpoint(nn.Linear(1, 1), str(evil))
    model = nn.Linear(64, 64)
    load_checkpoint(model, str(good))
    assert torch.equal(model.weight, torch.load(good)['state_dict']['weight'])


def test_a_loader_that_falls_back_to_unsafe_loading_is_guarded(evil):
    def load_from_fallback(filename, map_location=None):
        return torch.load(filename.removeprefix('fallback://'), map_location, weights_only=False)

    CheckpointLoader.register_scheme('fallback://', load_from_fallback, force=True)
    guard_loaders()
    with pytest.raises(UserError, match='is refused'):
        CheckpointLoader.load_checkpoint(f'fallback://{evil}')


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Serves the folder over http."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_a_download_is_guarded(evil, good, address):
    assert read_checkpoint(f'{address}/good.pth')['meta'] == dict(epoch=1)
    assert 'is refused' in refusal(f'{address}/evil.pth')
    assert 'cannot download' in refusal(f'{address}/gone.pth')


def test_files_of_one_name_at_two_addresses_are_two(address, tmp_path):
    for folder, value in (('a', 1.0), ('b', 2.0)):
        (tmp_path / folder).mkdir()
        save_file(dict(weight=torch.full((2,), value)), tmp_path / folder / 'model.safetensors')
    for folder, value in (('a', 1.0), ('b', 2.0)):
        read = read_checkpoint(f'{address}/{folder}/model.safetensors')
        assert read['weight'].tolist() == [value, value]


def test_a_file_with_a_hash_in_its_name_is_kept_where_torch_keeps_it(good, address, tmp_path):
    name = f'net-{hashlib.sha256(good.read_bytes()).hexdigest()[:8]}.pth'
    good.rename(tmp_path / name)
    read_checkpoint(f'{address}/{name}')
    assert (tmp_path / 'cache' / 'hub' / 'checkpoints' / name).exists()


def test_a_download_that_is_no_checkpoint_is_not_kept(good, address, tmp_path):
    (tmp_path / 'net.pth').write_bytes(b'<html>Sign in</html>')
    with pytest.raises(UserError, match='is a web page'):
        read_checkpoint(f'{address}/net.pth')
    shutil.copy(good, tmp_path / 'net.pth')
    assert read_checkpoint(f'{address}/net.pth')['meta'] == dict(epoch=1)


def test_the_environment_is_as_before(monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    before = dict(os.environ)
    with weights_only():
        assert 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ
    assert dict(os.environ) == before


def test_a_download_whose_name_ends_with_a_hash_is_held_to_it(good, address, tmp_path):
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    right = digest[: next(n for n in range(8, 64) if not digest[:n].isdigit())]
    hashed = [f'net-{right}.pth', f'net-{digest}.pth', f'net-{right}.pth.tar']
    for name in (*hashed, 'net-20200130.pth', 'net-v2.pth', 'iter-00090000.pth'):
        shutil.copy(good, tmp_path / name)
        assert read_checkpoint(f'{address}/{name}')['meta'] == dict(epoch=1)
    cache = tmp_path / 'cache' / 'hub' / 'checkpoints'
    shutil.copy(good, cache / 'net-a1b2c3d4.pth')
    with pytest.raises(UserError, match=f'with a1b2c3d4, but it begins with {digest[:8]}'):
        read_checkpoint(f'{address}/net-a1b2c3d4.pth')
    shutil.copy(good, tmp_path / 'other-a1b2c3d4.pth')
    with pytest.raises(UserError, match='is truncated or damaged: invalid hash value'):
        read_checkpoint(f'{address}/other-a1b2c3d4.pth')


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_a_file_on_this_machine_is_only_warned_of(good, tmp_path, log):
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    for name in ('net-a1b2c3d4.pth', 'net-a1b2c3d4.pth.tar'):
        shutil.copy(good, tmp_path / name)
        assert read_checkpoint(str(tmp_path / name))['meta'] == dict(epoch=1)
        assert f'its SHA-256 begins with {digest[:8]}, not a1b2c3d4' in log.text
        log.clear()
    ordinary = ('model-1700000000', 'run-20231015123000', 'a-20231015_123000', 'net-00090000')
    uuids = ('550e8400-e29b-41d4-a716-446655440000', 'm-550e8400-e29b-41d4-a716-44665544abcd')
    for name in (*ordinary, *uuids, 'net-a1b2c3d', 'net_a1b2c3d4', 'net-a1b2c3d4-last'):
        shutil.copy(good, tmp_path / f'{name}.pth')
        read_checkpoint(f'{tmp_path}/{name}.pth')
        assert not log.records


def test_safetensors_are_read(tmp_path):
    path = tmp_path / 'net.safetensors'
    save_file(nn.Linear(4, 4).state_dict(), path)
    assert read_checkpoint(str(path)).keys() == {'weight', 'bias'}
    guard_loaders()
    loaded = CheckpointLoader.load_checkpoint(str(path))
    assert loaded['state_dict'].keys() == {'weight', 'bias'}
    path.write_bytes(path.read_bytes()[:-7])
    assert 'truncated or damaged' in refusal(path)
    path.write_bytes(b'')
    assert 'is empty' in refusal(path)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors', '.pkl', '.bin'])
def test_the_content_of_a_file_says_how_to_read_it_whatever_it_is_called(suffix, tmp_path):
    weights = dict(weight=torch.ones(2))
    save_file(weights, tmp_path / f'a{suffix}')
    torch.save(weights, tmp_path / f'b{suffix}')
    torch.save(weights, tmp_path / f'c{suffix}', _use_new_zipfile_serialization=False)
    for name in 'abc':
        assert torch.equal(read_checkpoint(f'{tmp_path}/{name}{suffix}')['weight'], torch.ones(2))


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_pickles_of_arrays_are_read_as_detectron2_writes_them(protocol, tmp_path):
    weight = np.random.rand(3, 2).astype(np.float32)
    checkpoint = dict(model={'stem.conv1.weight': weight}, __author__='someone')
    (tmp_path / 'net.pkl').write_bytes(pickle.dumps(checkpoint, protocol))
    read = read_checkpoint(str(tmp_path / 'net.pkl'))['model']['stem.conv1.weight']
    assert torch.equal(read, torch.from_numpy(weight))


def test_torchvision_weights_load_without_torchvision(good, tmp_path, monkeypatch):
    """From torch's cache here; a download goes to the same place."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr('mmblocks.weights.torchvision_scheme.find_spec', lambda name: None)
    cache = tmp_path / 'hub' / 'checkpoints'
    cache.mkdir(parents=True)
    addresses = json.loads(torchvision_scheme._ADDRESSES.read_text())
    assert addresses['resnet18'].endswith('/resnet18-f37072fd.pth')
    shutil.copy(good, cache / 'resnet18-f37072fd.pth')  # what torchvision offers is another file
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    addresses['resnet34'] = f'https://localhost:1/resnet34-{digest[:8]}.pth'
    shutil.copy(good, cache / f'resnet34-{digest[:8]}.pth')
    (tmp_path / 'addresses.json').write_text(json.dumps(addresses))
    monkeypatch.setattr(torchvision_scheme, '_ADDRESSES', tmp_path / 'addresses.json')
    guard_loaders()
    assert read_checkpoint('torchvision://resnet34')['meta'] == dict(epoch=1)
    with pytest.raises(UserError, match='its SHA-256 begins with f37072fd'):
        read_checkpoint('torchvision://resnet18')
    with pytest.raises(UserError, match=r'torchvision://resnet19 is not known .* mean resnet1'):
        read_checkpoint('torchvision://resnet19')
