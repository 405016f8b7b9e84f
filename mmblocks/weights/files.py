"""Reading checkpoints: never running code from a file, and saying what is wrong with it."""

from __future__ import annotations

import codecs
import functools
import hashlib
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner.checkpoint import CheckpointLoader

from mmblocks.errors import UserError, did_you_mean, first_line
from mmblocks.weights.formats import (
    check_hash,
    is_array_pickle,
    is_safetensors,
    promised_hash,
    read_array_pickle,
    read_safetensors,
)
from mmblocks.weights.report import listed
from mmblocks.weights.safe_globals import allow_mmengine_checkpoints
from mmblocks.weights.torchvision_scheme import serve_torchvision_scheme
from mmblocks.weights.training_state import without_code

_FORCE, _FORCE_NOT = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
# How torch's restricted unpickler says that a file asks for something that is not allowed.
_REFUSED = re.compile(
    r'GLOBAL (\S+ ?\([^)]*\)|\S+) was not an allowed|GLOBAL (getattr\(.*\))|GLOBAL (\S+) whose'
    r'|unrecognized function (.+)|allowlisted via `add_safe_globals`,? but got (.+)'
)
# Under which names trainers store a state dict, averaged weights first: timm, mmengine, detectron2,
# and others. MMEngine's ``ema_state_dict`` is what was not averaged.
_CONTAINERS = (
    'state_dict_ema',
    'model_ema',
    'ema',
    'state_dict',
    'model',
    'model_state_dict',
    'module',
    'net',
    'ema_state_dict',
)
_DAMAGED = (RuntimeError, EOFError, struct.error, zipfile.BadZipFile)
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

    Covers ``load_from``, resuming and ``init_cfg=dict(type='Pretrained', ...)``. What they give
    lacks what MMEngine itself would run of it, the configs in ``meta`` and ``message_hub`` (see
    `without_code`). They also read ``.safetensors``, and hold files whose name ends with a hash
    to it. What is wrong with a file becomes a `UserError`. May be called any number of times.
    """
    # Behind http(s), torchvision://, open-mmlab:// and mmcls:// alike.
    checkpoint_module.load_url = _load_url
    if hasattr(checkpoint_module, '_safe_torch_load'):
        # The OneDL fork loads through this, with an allow list that has the real getattr on it.
        checkpoint_module._safe_torch_load = torch.load
    serve_torchvision_scheme()
    for prefix, loader in list(CheckpointLoader._schemes.items()):
        if not hasattr(loader, 'guarded'):
            CheckpointLoader.register_scheme(prefix, _guarded(loader), force=True)


def _guarded(loader: Callable) -> Callable:
    def read(filename: str, map_location: Any = None) -> Any:
        if '://' not in filename:
            return _load_file(filename, map_location)
        with weights_only(), _explained(filename):
            return without_code(loader(filename, map_location=map_location))

    @functools.wraps(loader)  # MMEngine logs the name
    def load(filename: str, map_location: Any = None) -> Any:
        return _under_one_name(read(filename, map_location))

    load.guarded = read
    return load


def _under_one_name(checkpoint: Any) -> Any:
    """Puts the state dict that `weights` finds where MMEngine looks for it, and no other beside it.

    MMEngine's ``ema_state_dict`` stays: with it, its hook takes averaging up again.
    """
    state_dict = _find_state_dict(checkpoint)
    if state_dict is None:
        return checkpoint
    others = set(_CONTAINERS) - {'ema_state_dict'}
    rest = {} if state_dict is checkpoint else checkpoint
    return {
        **{name: value for name, value in rest.items() if name not in others},
        'state_dict': _without_prefix(state_dict),
    }


def read_checkpoint(path: str) -> dict[str, Any]:
    """Reads a checkpoint file.

    Args:
        path: A file on this machine, or any address that MMEngine's loaders know.

    Returns:
        What the checkpoint holds, tensors on the CPU, without the configs that MMEngine would run.

    Raises:
        UserError: There is no such file, it is no checkpoint, it is damaged, it wants to run
            code, or it holds no weights.
    """
    if '://' in path:
        guard_loaders()
        checkpoint = CheckpointLoader._get_checkpoint_loader(path).guarded(path, 'cpu')
    else:
        checkpoint = _load_file(path, 'cpu')
    weights(checkpoint, path)
    return checkpoint


def _load_file(path: str, map_location: Any) -> Any:
    with weights_only(), _explained(path):
        file = Path(path).expanduser()
        return without_code(_read_file(file, map_location), file.parent)


def _read_file(file: Path, map_location: Any = None) -> Any:
    """Reads a file of any known format; within `weights_only`."""
    _check_file(file)
    check_hash(file)
    if is_safetensors(file):
        return read_safetensors(file, map_location)
    if is_array_pickle(file):
        return read_array_pickle(file)
    if file.suffix == '.safetensors':  # torch goes by the name, if it sees one
        with file.open('rb') as stream:
            return torch.load(stream, map_location=map_location)
    return torch.load(file, map_location=map_location)


def _load_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    **_: Any,
) -> Any:
    """Stands for ``torch.hub.load_state_dict_from_url``, whose cache it shares."""
    file = cache_path(url, model_dir)
    if file.exists():
        return _read_file(file, map_location)
    file.parent.mkdir(parents=True, exist_ok=True)
    print_log(f'downloading {url} to {file}', logger='current')
    try:
        torch.hub.download_url_to_file(url, str(file), promised_hash(file.name), progress=progress)
    except OSError as error:
        raise UserError(
            f'cannot download {url}: {error}; downloaded by other means, it belongs at {file}'
        ) from error
    try:
        return _read_file(file, map_location)
    except Exception:
        # Another try shall not find a refusal's web page again.
        file.unlink(missing_ok=True)
        raise


def cache_path(url: str, folder: str | None = None) -> Path:
    """Where the download of an address is kept.

    Args:
        url: The address of a checkpoint.
        folder: The cache; default: torch's.

    Returns:
        The file: torch's own where the name promises a hash. Other names, such as
        model.safetensors, are those of many addresses, so that they get a folder each.
    """
    cache = Path(folder or Path(torch.hub.get_dir(), 'checkpoints'))
    name = Path(urlparse(url).path).name
    if promised_hash(name) is None:
        cache /= hashlib.sha256(url.encode()).hexdigest()[:16]
    return cache / name


def weights(checkpoint: Any, path: str) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint, without the prefix that a DDP wrapper leaves.

    Args:
        checkpoint: What a loader gave: a bare state dict, or a dict that holds one under a name
            that is usual for it. Averaged weights (``ema``) come before the others.
        path: Where it came from, for the error.

    Returns:
        Names and tensors. Keeps the version metadata that modules look at while loading.

    Raises:
        UserError: It holds no tensors.
    """
    state_dict = _find_state_dict(checkpoint)
    if state_dict is None:
        held = f'a {type(checkpoint).__name__}'
        if isinstance(checkpoint, dict):
            held += f' of {listed([str(name) for name in checkpoint]) or "nothing"}'
        raise UserError(
            f'{path} holds no weights: it is {held}; they are looked for in it and under '
            f'{", ".join(_CONTAINERS)}'
        )
    return _without_prefix(state_dict)


def _without_prefix(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    stripped = type(state_dict)((k.removeprefix('module.'), v) for k, v in state_dict.items())
    if hasattr(state_dict, '_metadata'):
        stripped._metadata = state_dict._metadata
    return stripped


def _find_state_dict(value: Any, depth: int = 2) -> dict[str, torch.Tensor] | None:
    if not isinstance(value, dict):
        return None
    # MMEngine's Runner has put what is to be used, averaged or not, under state_dict.
    is_runners = 'message_hub' in value and 'state_dict' in value
    for name in ('state_dict',) if is_runners else _CONTAINERS if depth else ():
        found = _find_state_dict(value.get(name), depth - 1)
        if found is not None:
            return found
    named = all(isinstance(name, str) for name in value)
    # A trainer's lone numbers, such as the decay of an average, are no weights.
    tensors = (item for item in value.values() if isinstance(item, torch.Tensor))
    return value if named and any(tensor.dim() for tensor in tensors) else None


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
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith(b'<'):
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
    except _DAMAGED as error:
        if 'weights_only' in str(error):  # an archive of another kind, such as TorchScript
            raise UserError(_refusal(path, '')) from error
        size = f' ({_size(Path(path))})' if Path(path).is_file() else ''
        raise UserError(f'{path} is truncated or damaged{size}: {first_line(error)}') from error


def _refusal(path: str, message: str) -> str:
    found = _REFUSED.search(message)
    if found is None:
        return f'{path} is no checkpoint that torch can read, or it is damaged'
    name = next(group for group in found.groups() if group).rstrip('.')
    return (
        f'{path} is refused: it asks for {name}, which no weights need; where the file is trusted, '
        'save its state dict alone and load that'
    )
