"""The kinds of files that weights come in besides torch's own."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log

from mmblocks.utils.errors import UserError
from mmblocks.utils.hashes import sha256_of
from mmblocks.weights.training_state import tensors_in

# With a letter, since other digits at this place are a day, a time or a step.
_HASH = re.compile(r'-(?=\d*[a-f])([0-9a-f]{8,64})(\.\w+){1,2}$')
_UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.')
# How the files of torch 1.5 and older begin, which are pickles too.
_OLD_TORCH = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'


def is_safetensors(file: Path) -> bool:
    """Returns whether a file is of the safetensors format, or at least has its suffix.

    Args:
        file: The file.
    """
    head = _head(file)
    # The length of a header in JSON, then the header.
    length = int.from_bytes(head[:8], 'little')
    if head[8:9] == b'{' and length < file.stat().st_size:
        return True
    return file.suffix == '.safetensors' and not _is_torchs(head)


def is_array_pickle(file: Path) -> bool:
    """Returns whether a file may be a plain pickle, such as those of detectron2's model zoo.

    Args:
        file: The file.
    """
    return file.suffix == '.pkl' and not _is_torchs(_head(file))


def _head(file: Path) -> bytes:
    with file.open('rb') as stream:
        return stream.read(len(_OLD_TORCH))


def _is_torchs(head: bytes) -> bool:
    return head.startswith((b'PK', _OLD_TORCH))


def read_safetensors(file: Path, map_location: Any = None) -> dict[str, torch.Tensor]:
    """Reads a ``.safetensors`` file.

    Args:
        file: The file.
        map_location: Device of the tensors; default: the CPU.

    Returns:
        Names and tensors.

    Raises:
        UserError: The file is no such file or damaged, or safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f'{file} needs safetensors: pip install safetensors') from error
    device = 'cpu' if map_location is None else str(map_location)
    try:
        return load_file(file, device)
    except SafetensorError as error:
        size = f'{file.stat().st_size:,} bytes'
        raise UserError(f'{file} is truncated or damaged ({size}): {error}') from error


def read_torchs(file: Path, map_location: Any = None) -> Any:
    """Reads a file of ``torch.save``, of today's format or that of torch 1.5 and older.

    Args:
        file: The file.
        map_location: As for ``torch.load``, which is to be restricted to weights.

    Returns:
        What it holds.

    Raises:
        UserError: A file of the old format lacks tensors; others are left to ``torch.load``.
    """
    with file.open('rb') as stream:  # without the name, which torch goes by if it sees one
        checkpoint = torch.load(stream, map_location=map_location)
        if _head(file).startswith(b'PK'):
            return checkpoint
        # torch leaves memory as it is where the list of what follows in the file is incomplete.
        storages = {t.untyped_storage()._cdata: t.untyped_storage() for t in tensors_in(checkpoint)}
        claimed = sum(storage.nbytes() for storage in storages.values())
        if stream.read(1) or claimed > file.stat().st_size:
            raise UserError(f'{file} is damaged: there are tensors in it without their values')
    return checkpoint


def check_hash(file: Path) -> None:
    """Compares a download with the part of its SHA-256 that its name ends with, if it does.

    Args:
        file: The file, such as ``resnet50-0676ba61.pth``.

    Raises:
        UserError: It is another file than the name says.
    """
    if other := _other_hash(file):
        raise UserError(
            f'{file} is damaged or changed: by its name its SHA-256 begins with {other[0]}, but it '
            f'begins with {other[1]}; download it again'
        )


def warn_of_hash(file: Path) -> None:
    """Warns of a file on this machine whose name ends with what may be the hash of another.

    Args:
        file: The file. Whoever named it need not have meant a hash.
    """
    if other := _other_hash(file):
        print_log(
            f'{file}: if its name ends with a hash, it is damaged or changed: its SHA-256 begins '
            f'with {other[1]}, not {other[0]}',
            logger='current',
            level=logging.WARNING,
        )


def _other_hash(file: Path) -> tuple[str, str] | None:
    """Returns the hash in a name and as much of the file's own, if they are not the same."""
    promised = promised_hash(file.name)
    if promised is None:
        return None
    actual = sha256_of(file)[: len(promised)]
    return None if actual == promised else (promised, actual)


def promised_hash(name: str) -> str | None:
    """Returns the beginning of the SHA-256 that a file's name ends with, as torch's and mmdet's do.

    Example:
        >>> promised_hash('resnet50-0676ba61.pth')
        '0676ba61'
        >>> promised_hash('retinanet_r50-20200130.pth') is None  # a day
        True
    """
    found = _HASH.search(name)
    return None if found is None or _UUID.search(name) else found[1]
