"""Writing weights to a file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mmblocks.utils.errors import UserError, first_line
from mmblocks.utils.hashes import sha256_of
from mmblocks.weights.formats import promised_hash

SUFFIXES = ('.pth', '.safetensors')
_PART = '.part'


def check_place(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Checks that weights can be written to a file of this name.

    Args:
        path: The file, ``.pth`` or ``.safetensors``.
        force: Whether a file that is there may be replaced.

    Returns:
        The file.

    Raises:
        UserError: Its suffix is another one, or it is there already.
    """
    file = Path(path).expanduser()
    if file.suffix not in SUFFIXES:
        raise UserError(f'{path}: weights are written as {" or ".join(SUFFIXES)}, by the suffix')
    if file.is_dir():
        raise UserError(f'{path} is a folder')
    if file.exists() and not force:
        raise UserError(f'{path} is there already; --force replaces it')
    return file


def save_weights(
    state_dict: Mapping[str, Tensor], path: str | os.PathLike[str], force: bool = False
) -> Path:
    """Writes a state dict; the file appears when it is whole.

    Args:
        state_dict: Names and tensors.
        path: The file: ``.pth`` (torch's format) or ``.safetensors``.
        force: Whether a file that is there may be replaced.

    Returns:
        The file.

    Raises:
        UserError: It cannot be written, or its name ends with a hash that is not its own.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights({'weight': torch.ones(2)}, f'{folder}/ones.pth').name
        'ones.pth'
    """
    file = check_place(path, force)
    # Copies, since a part of a larger tensor would be written with all of it.
    state_dict = {name: value.detach().clone().contiguous() for name, value in state_dict.items()}
    size = sum(value.nbytes for value in state_dict.values())
    with whole_file(file, size) as part:
        _write(state_dict, part, file.suffix)
        _check_promise(part, file)
    return file


@contextmanager
def whole_file(file: Path, size: int) -> Iterator[Path]:
    """Has a file written beside the one that is meant, which it replaces when it is whole.

    Whatever ends the process meanwhile, at the place that is meant stands what stood there before
    or all of the new file. What is left beside it then, `remove_parts` takes away.

    Args:
        file: The file that is meant.
        size: Number of bytes that it will take, for the error.

    Yields:
        The file to write.

    Raises:
        UserError: It cannot be written; says how much space it takes and how much there is.
    """
    part = file.with_name(f'.{file.name}.{os.getpid()}{_PART}')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            with part.open('rb') as stream:
                os.fsync(stream.fileno())  # or after a power cut, the name is there without content
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f'{file} cannot be written: {error.strerror or error}{_space(file, size)}'
        ) from error


def remove_parts(folder: Path) -> None:
    """Removes what writers that were killed have left in a folder, see `whole_file`.

    Args:
        folder: The folder; nobody writes to it now.
    """
    for part in folder.glob(f'.*.[0-9]*{_PART}'):
        part.unlink(missing_ok=True)


def _space(file: Path, size: int) -> str:
    try:
        free = shutil.disk_usage(file.parent).free
    except OSError:  # the folder is what cannot be made
        return ''
    return f' (it takes {size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free)'


def _write(state_dict: dict[str, Tensor], part: Path, suffix: str) -> None:
    if suffix == '.safetensors':
        _write_safetensors(state_dict, part)
        return
    # By a stream, since torch would put the name of a file into it, and so into its hash.
    with part.open('wb') as stream:
        try:
            torch.save(state_dict, stream)
        except RuntimeError as error:
            raise OSError(f'is the disk full? ({first_line(error)})') from error


def _write_safetensors(state_dict: dict[str, Tensor], part: Path) -> None:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    except ImportError as error:
        raise UserError('.safetensors needs safetensors: pip install safetensors') from error
    try:
        save_file(state_dict, part, metadata={'format': 'pt'})
    except SafetensorError as error:
        raise OSError(first_line(error)) from error


def _check_promise(part: Path, file: Path) -> None:
    promised = promised_hash(file.name)
    if promised is None:
        return
    actual = sha256_of(part)[: len(promised)]
    if actual != promised:
        raise UserError(
            f'{file} would have the SHA-256 {actual}..., not the {promised} that its name ends '
            f'with: name it {file.name.replace(promised, actual)}, or leave the hash out'
        )
