"""What is wrong with a checkpoint file, in one line."""

from __future__ import annotations

import codecs
import errno
import os
import pickle
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmblocks.utils.errors import UserError, did_you_mean, first_line

# How torch's restricted unpickler says that a file asks for something that is not allowed.
_REFUSED = re.compile(
    r'GLOBAL (\S+ ?\([^)]*\)|\S+) was not an allowed|GLOBAL (getattr\(.*\))|GLOBAL (\S+) whose'
    r'|unrecognized function (.+)|allowlisted via `add_safe_globals`,? but got (.+)'
)
_DAMAGED = (RuntimeError, EOFError, struct.error, zipfile.BadZipFile)


def check_file(file: Path) -> None:
    """Raises for what is no checkpoint at first sight.

    Args:
        file: The file.

    Raises:
        UserError: It cannot be read, is empty, cut, or something else.
    """
    _check_place(file)
    try:
        with file.open('rb') as stream:
            head = stream.read(512)
    except OSError as error:
        raise UserError(f'cannot read {file}: {error.strerror}') from error
    if not head:
        raise UserError(f'{file} is empty (0 bytes)')
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith(b'<'):
        raise UserError(f'{file} is a web page, not a checkpoint; was its download refused?')
    if text.startswith(b'version https://git-lfs'):
        raise UserError(f'{file} is a Git LFS pointer, not a checkpoint; run git lfs pull')
    if head.startswith(b'PK'):
        _check_archive(file)


def _check_place(file: Path) -> None:
    """Raises for what is no file that can be opened; opening others can wait for ever."""
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if file.is_symlink():
            target = os.readlink(file)
            raise UserError(f'{file} is a link to {target}, which is not there') from error
        near = did_you_mean(file.name, _names(file.parent))
        raise UserError(f'checkpoint not found: {file}{near}') from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(f'{file} is a link that leads back to itself') from error
        raise UserError(f'cannot read {file}: {error.strerror}') from error
    if stat.S_ISDIR(mode):
        raise UserError(f'{file} is a folder, not a checkpoint{_latest(file)}')
    if not stat.S_ISREG(mode):
        raise UserError(f'{file} is a device, pipe or socket, not a checkpoint')


def _check_archive(file: Path) -> None:
    """Raises for a file whose bytes are not those that were saved; torch would not notice."""
    if not zipfile.is_zipfile(file):
        raise UserError(f'{file} is truncated: its end is missing ({_size(file)})')
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(info.filename.endswith('/constants.pkl') for info in entries):
            raise UserError(
                f'{file} is TorchScript, not a checkpoint: load it by torch.jit.load and save its '
                'state dict'
            )
        # Nothing is compressed in what torch writes; others can say any size.
        if any(info.file_size != info.compress_size for info in entries):
            raise UserError(f'{file} is a compressed archive, not a checkpoint; unpack it')
        if sum(info.file_size for info in entries) > file.stat().st_size:
            raise UserError(f'{file} is damaged: the parts of it are larger than it is')
        has_checksums = any(info.CRC for info in entries)  # torch can leave them out
        damaged = archive.testzip() if has_checksums else None
    if damaged:
        raise UserError(f'{file} is damaged: the checksum of {damaged} in it is wrong')


def _names(folder: Path) -> list[str]:
    return [p.name for p in folder.glob('*.pth')] if folder.is_dir() else []


def _latest(folder: Path) -> str:
    files = [p for p in folder.glob('*.pth') if p.is_file()]
    return f'; the latest checkpoint in it is {max(files, key=_age)}' if files else ''


def _age(file: Path) -> float:
    return file.stat().st_mtime


def _size(file: Path) -> str:
    return f'{file.stat().st_size:,} bytes'


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns whatever is raised while a checkpoint is read into a `UserError`.

    Args:
        path: The file or address.
    """
    try:
        yield
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path, error)) from error
    except OSError as error:
        raise UserError(f'cannot load {path}: {first_line(error)}') from error
    except _DAMAGED as error:
        if 'weights_only' in str(error):  # an archive of another kind
            raise UserError(_refusal(path, error)) from error
        size = f' ({_size(Path(path))})' if Path(path).is_file() else ''
        raise UserError(f'{path} is truncated or damaged{size}: {first_line(error)}') from error
    except Exception as error:  # the opcodes of a damaged pickle do almost anything
        raise UserError(_refusal(path, error)) from error


def _refusal(path: str, error: Exception) -> str:
    found = _REFUSED.search(str(error))
    if found is not None:
        name = next(group for group in found.groups() if group).rstrip('.')
        return (
            f'{path} is refused: it asks for {name}, which no weights need; where the file is '
            'trusted, save its state dict alone and load that'
        )
    # torch's own words would be about its options.
    torchs = isinstance(error, pickle.UnpicklingError) or 'weights_only' in str(error)
    reason = '' if torchs else f': {first_line(error)}'
    return f'{path} is no checkpoint that torch can read, or it is damaged{reason}'
