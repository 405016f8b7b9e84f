"""Reading checkpoints: never running code from a file, and saying what is wrong with it."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner.checkpoint import CheckpointLoader

from mmblocks.utils.errors import UserError
from mmblocks.weights.array_pickles import read_array_pickle
from mmblocks.weights.explaining import check_file, explained
from mmblocks.weights.formats import (
    check_hash,
    is_array_pickle,
    is_safetensors,
    promised_hash,
    read_safetensors,
    read_torchs,
    warn_of_hash,
)
from mmblocks.weights.report import listed
from mmblocks.weights.safe_globals import allow_mmengine_checkpoints
from mmblocks.weights.torchvision_scheme import serve_torchvision_scheme
from mmblocks.weights.training_state import without_code
from mmblocks.weights.values import check_tensors

_FORCE, _FORCE_NOT = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
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

    Covers ``load_from``, resuming and ``init_cfg=dict(type='Pretrained', ...)``. What they return
    lacks what MMEngine itself would run of it, the configs in ``meta`` and ``message_hub`` (see
    `without_code`). They also read ``.safetensors``, and hold downloads whose name ends with a hash
    to it. What is wrong with a file becomes a `UserError`. May be called any number of times.
    """
    # Behind http(s), torchvision://, open-mmlab:// and mmcls:// alike.
    vars(checkpoint_module)['load_url'] = _load_url
    if hasattr(checkpoint_module, '_safe_torch_load'):
        # The OneDL fork loads through this, with an allow list that has the real getattr on it.
        checkpoint_module._safe_torch_load = torch.load
    serve_torchvision_scheme()
    for prefix, loader in list(CheckpointLoader._schemes.items()):
        if not hasattr(loader, 'guarded'):
            CheckpointLoader.register_scheme(prefix, _guarded(loader), force=True)


def _guarded(loader: Callable[..., Any]) -> Callable[..., Any]:
    def read(filename: str, map_location: Any = None) -> Any:
        if '://' not in filename:
            return _load_file(filename, map_location)
        with weights_only(), explained(filename):
            return without_code(loader(filename, map_location=map_location))

    @functools.wraps(loader)  # MMEngine logs the name
    def load(filename: str, map_location: Any = None) -> Any:
        return _under_one_name(read(filename, map_location))

    load.guarded = read  # type: ignore[attr-defined]
    return load


def _under_one_name(checkpoint: Any) -> Any:
    """Puts the one state dict to load where MMEngine looks for it, and no other beside it.

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
    extract_state_dict(checkpoint, path)
    return checkpoint


def _load_file(path: str, map_location: Any) -> Any:
    with weights_only(), explained(path):
        file = Path(path).expanduser()
        check_file(file)
        warn_of_hash(file)
        return without_code(_read_file(file, map_location), file.parent)


def _read_file(file: Path, map_location: Any = None) -> Any:
    """Reads a file of any known format; within `weights_only`."""
    if is_safetensors(file):
        return read_safetensors(file, map_location)
    if is_array_pickle(file):
        return read_array_pickle(file)
    return read_torchs(file, map_location)


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
        check_file(file)
        check_hash(file)
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
        check_file(file)
        return _read_file(file, map_location)
    except Exception:
        # Another try shall not find a refusal's web page again.
        file.unlink(missing_ok=True)
        raise


def cache_path(url: str, folder: str | None = None) -> Path:
    """Returns where the download of an address is kept.

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


def extract_state_dict(checkpoint: Any, path: str) -> dict[str, torch.Tensor]:
    """Returns the state dict in a checkpoint, without the prefix that a DDP wrapper leaves.

    Args:
        checkpoint: What a loader returned: a bare state dict, or a dict that holds one under a name
            that is usual for it. Averaged weights (``ema``) come before the others.
        path: Where it came from, for the error.

    Returns:
        Names and tensors. Keeps the version metadata that modules look at while loading.

    Raises:
        UserError: It holds no tensors, or others than plain ones.
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
    check_tensors(state_dict, path)
    return _without_prefix(state_dict)


def _without_prefix(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    stripped: Any = type(state_dict)((k.removeprefix('module.'), v) for k, v in state_dict.items())
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
