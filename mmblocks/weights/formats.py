"""The kinds of files that weights come in besides torch's own."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch

from mmblocks.errors import UserError

_HASH = re.compile(r'-([0-9a-f]{8,64})(\.\w+){1,2}$')
# Eight digits that are the day of a release, or the number of a step.
_DAY_OR_STEP = re.compile(r'(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])|00\d+')
# How the files of torch 1.5 and older begin, which are pickles too.
_OLD_TORCH = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'


def is_safetensors(file: Path) -> bool:
    """Whether a file is of the safetensors format, whatever it is called, or at least called so.

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
    """Whether a file may be a plain pickle, such as those of detectron2's model zoo.

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


def check_hash(file: Path) -> None:
    """Compares a file with the part of its SHA-256 that its name ends with, if it does.

    Args:
        file: The file, such as ``resnet50-0676ba61.pth``.

    Raises:
        UserError: It is another file than the name says.
    """
    promised = promised_hash(file.name)
    if promised is None:
        return
    digest = hashlib.sha256()
    with file.open('rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    actual = digest.hexdigest()
    if not actual.startswith(promised):
        raise UserError(
            f'{file} is damaged or changed: by its name its SHA-256 begins with {promised}, but it '
            f'begins with {actual[: len(promised)]}; download it again, or rename it if it was '
            'changed on purpose'
        )


def promised_hash(name: str) -> str | None:
    """Gives the beginning of the SHA-256 that a file's name ends with.

    Example:
        >>> promised_hash('resnet50-0676ba61.pth')
        '0676ba61'
        >>> promised_hash('retinanet_r50-20200130.pth') is None  # a day
        True
    """
    found = _HASH.search(name)
    return None if found is None or _DAY_OR_STEP.fullmatch(found[1]) else found[1]
