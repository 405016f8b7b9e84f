"""Reading checkpoints: never running code from a file, and saying what is wrong with it."""

from __future__ import annotations

import functools
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner.checkpoint import CheckpointLoader

from mmblocks.engine.errors import UserError, did_you_mean, first_line
from mmblocks.engine.torchvision_scheme import serve_torchvision_scheme
from mmblocks.weights.safe_globals import allow_mmengine_checkpoints

_FORCE, _FORCE_NOT = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
# How torch's restricted unpickler says that a file asks for something that is not allowed.
_REFUSED = re.compile(
    r'GLOBAL (\S+ ?\([^)]*\)|\S+) was not an allowed|GLOBAL (getattr\(.*\))|GLOBAL (\S+) whose'
    r'|unrecognized function (.+)|allowlisted via `add_safe_globals`,? but got (.+)'
)
_NO_CHECKPOINT = (ValueError, LookupError, TypeError, AttributeError)


@contextmanager
def weights_only() -> Iterator[None]:
    """Within it, every ``torch.load`` is ``weights_only=True`` and takes MMEngine's checkpoints.

    Holds for callers that ask for the opposite too: ``torch.hub`` does by default, and some
    loaders fall back to it when the restricted way fails.
    """
    allow_mmengine_checkpoints()
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = '1'
    try:
        with warnings.catch_warnings():
            # Whether such a file can be read all the same, or why not, is known a moment later.
            warnings.filterwarnings('ignore', 'Detected pickle protocol')
            yield
    finally:
        del os.environ[_FORCE]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def guard_loaders() -> None:
    """Makes MMEngine's checkpoint loaders, of every scheme, load with `weights_only`.

    Covers ``load_from``, resuming and ``init_cfg=dict(type='Pretrained', ...)``. What is wrong
    with a file becomes a `UserError`. May be called any number of times.
    """
    if hasattr(checkpoint_module, '_safe_torch_load'):
        # The OneDL fork loads through this, with an allow list that has the real getattr on it.
        checkpoint_module._safe_torch_load = torch.load
    serve_torchvision_scheme()
    for prefix, loader in list(CheckpointLoader._schemes.items()):
        if not hasattr(loader, 'guarded'):
            CheckpointLoader.register_scheme(prefix, _guarded(loader), force=True)


def _guarded(loader: Callable) -> Callable:
    @functools.wraps(loader)  # MMEngine logs the name
    def load(filename: str, map_location: Any = None) -> Any:
        if '://' not in filename:
            _check_file(Path(filename).expanduser())
        with weights_only(), _explained(filename):
            return loader(filename, map_location=map_location)

    load.guarded = True
    return load


def read_checkpoint(path: str) -> dict[str, Any]:
    """Reads a checkpoint file without copying its tensors into memory where its format allows.

    Args:
        path: A file on this machine, or any address that MMEngine's loaders know.

    Returns:
        What the checkpoint holds, tensors on the CPU.

    Raises:
        UserError: There is no such file, it is no checkpoint, it is damaged, it wants to run
            code, or it holds no weights.
    """
    if '://' in path:
        guard_loaders()
        checkpoint = CheckpointLoader.load_checkpoint(path, 'cpu')
    else:
        file = Path(path).expanduser()
        _check_file(file)
        with weights_only(), _explained(path):
            checkpoint = torch.load(file, map_location='cpu', mmap=zipfile.is_zipfile(file))
    weights(checkpoint, path)
    return checkpoint


def weights(checkpoint: Any, path: str) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint, without the prefix that a DDP wrapper leaves.

    Args:
        checkpoint: What a loader gave: a dict with ``state_dict``, or a bare state dict.
        path: Where it came from, for the error.

    Returns:
        Names and tensors. Keeps the version metadata that modules look at while loading.

    Raises:
        UserError: It holds no tensors.
    """
    state_dict = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else {}
    named = isinstance(state_dict, dict) and all(isinstance(name, str) for name in state_dict)
    if not named or not any(isinstance(v, torch.Tensor) for v in state_dict.values()):
        raise UserError(f'{path} holds no weights (it is a {type(checkpoint).__name__})')
    stripped = type(state_dict)((k.removeprefix('module.'), v) for k, v in state_dict.items())
    if hasattr(state_dict, '_metadata'):
        stripped._metadata = state_dict._metadata
    return stripped


def _check_file(file: Path) -> None:
    """Raises for what is no checkpoint at first sight."""
    if file.is_dir():
        raise UserError(f'{file} is a folder, not a checkpoint{_latest(file)}')
    if not file.exists():
        near = did_you_mean(file.name, _names(file.parent))
        raise UserError(f'checkpoint not found: {file}{near}')
    try:
        with file.open('rb') as stream:
            head = stream.read(512)
    except OSError as error:
        raise UserError(f'cannot read {file}: {error.strerror}') from error
    if not head:
        raise UserError(f'{file} is empty (0 bytes)')
    text = head.lstrip().lower()
    if text.startswith((b'<!doctype', b'<html', b'<?xml', b'<head')):
        raise UserError(f'{file} is a web page, not a checkpoint; was its download refused?')
    if text.startswith(b'version https://git-lfs'):
        raise UserError(f'{file} is a Git LFS pointer, not a checkpoint; run git lfs pull')
    if head.startswith(b'PK'):
        _check_archive(file)


def _check_archive(file: Path) -> None:
    """Raises for a file whose bytes are not those that were saved; torch would not notice."""
    if not zipfile.is_zipfile(file):
        raise UserError(f'{file} is truncated: its end is missing ({_size(file)})')
    with zipfile.ZipFile(file) as archive:
        has_checksums = any(info.CRC for info in archive.infolist())  # torch can leave them out
        damaged = archive.testzip() if has_checksums else None
    if damaged:
        raise UserError(f'{file} is damaged: the checksum of {damaged} in it is wrong')


def _names(folder: Path) -> list[str]:
    return [p.name for p in folder.glob('*.pth')] if folder.is_dir() else []


def _latest(folder: Path) -> str:
    files = sorted(folder.glob('*.pth'), key=lambda p: p.stat().st_mtime)
    return f'; the latest checkpoint in it is {files[-1]}' if files else ''


def _size(file: Path) -> str:
    return f'{file.stat().st_size:,} bytes'


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turns what ``torch.load`` raises into a `UserError`."""
    try:
        yield
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path, str(error))) from error
    except OSError as error:
        raise UserError(f'cannot load {path}: {error}') from error
    except _NO_CHECKPOINT as error:
        raise UserError(_refusal(path, str(error))) from error
    except (RuntimeError, EOFError) as error:
        if 'weights_only' in str(error):  # an archive of another kind, such as TorchScript
            raise UserError(_refusal(path, '')) from error
        size = f' ({_size(Path(path))})' if Path(path).is_file() else ''
        raise UserError(f'{path} is truncated or damaged{size}: {first_line(error)}') from error


def _refusal(path: str, message: str) -> str:
    found = _REFUSED.search(message)
    if found is None:
        return f'{path} is no checkpoint that torch can read, or it is damaged'
    name = next(group for group in found.groups() if group).rstrip('.')
    return f'{path} is refused: it asks for {name}, which no checkpoint of weights needs'
