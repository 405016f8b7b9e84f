"""What a checkpoint holds besides weights, as far as MMEngine may see it.

MMEngine trusts the checkpoints that it resumes from: it runs the config in them, deletes the files
that they name and takes over their values as they are.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

# A dataset's names or a table of results; what refers to itself many times over is larger.
_MOST_VALUES, _DEEPEST = 1_000_000, 50
_DICTS = (dict, OrderedDict, ConfigDict, Counter)
_CONTAINERS = {*_DICTS, list}
# What is a dict where MMEngine has written it, and taken for something else where it is none.
_STATES = ('meta', 'message_hub', 'optimizer')


def without_code(checkpoint: Any, folder: Path | None = None) -> Any:
    """Takes out of a checkpoint what MMEngine would run, delete or stumble over.

    - ``meta['config']``, which resuming runs as Python, and ``meta['cfg']`` and the message hub's
      ``cfg``, which inferencers run that are given no config.
    - The path of the best checkpoint so far, which is deleted when there is a better one, if it
      is none in the folder of the checkpoint.
    - What is of another type than MMEngine writes: epochs that are no numbers, logs that are no
      histories, attributes of dicts and tensors.

    Args:
        checkpoint: What was read; it is changed.
        folder: Where the file lies; None if it is not a file of this machine.

    Returns:
        The checkpoint.

    Example:
        >>> without_code({'meta': {'epoch': 3, 'config': 'import os'}})
        {'meta': {'epoch': 3}}
    """
    if not isinstance(checkpoint, dict):
        return checkpoint
    _remove_attributes(checkpoint)
    for name in _STATES:
        state = checkpoint.get(name)
        if name in checkpoint and not isinstance(state, (*_DICTS, torch.Tensor)):
            del checkpoint[name]
    if not _are_schedulers(checkpoint.get('param_schedulers', [])):
        # With neither it cannot be resumed; without the schedulers alone it would be in silence.
        for name in ('param_schedulers', 'optimizer'):
            checkpoint.pop(name, None)
    meta, hub = checkpoint.get('meta'), checkpoint.get('message_hub')
    if isinstance(meta, dict):
        checkpoint['meta'] = {key: value for key, value in meta.items() if _belongs(key, value)}
    if isinstance(hub, dict):
        checkpoint['message_hub'] = _message_hub(hub, folder)
    return checkpoint


def is_small(value: Any) -> bool:
    """Returns whether a value can be walked through, copied and shown.

    Args:
        value: Anything from a file; one that stands at several places counts as often.
    """
    count = 0
    waiting: list[Iterator[Any]] = [iter((value,))]
    while waiting:
        for item in waiting[-1]:
            count += 1
            if count > _MOST_VALUES or len(waiting) > _DEEPEST:
                return False
            if isinstance(item, dict):
                waiting.append(iter((*dict.keys(item), *dict.values(item))))
                break
            if isinstance(item, (list, tuple, set, frozenset)):
                waiting.append(iter(item))
                break
        else:
            waiting.pop()
    return True


def _belongs(key: Any, value: Any) -> bool:
    """Returns whether an entry of ``meta`` may stay."""
    if key in ('config', 'cfg'):
        return False
    if key in ('epoch', 'iter'):
        return type(value) is int and value >= 0
    if key == 'seed':
        return value is None or (type(value) is int and 0 <= value < 2**32)
    if key == 'dataset_meta':
        return value is None or (_has_names(value) and is_small(value))
    return is_small(value)


def _are_schedulers(states: Any) -> bool:
    """Returns whether this is what the schedulers of one or several optimizers have written."""
    if isinstance(states, dict):
        return all(isinstance(state, list) and _are_schedulers(state) for state in states.values())
    return isinstance(states, list) and all(_has_names(state) for state in states)


def _message_hub(hub: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Returns the state of a message hub with nothing in it but what one takes."""
    parts: dict[str, dict[str, Any]] = {}
    for name in ('log_scalars', 'runtime_info', 'resumed_keys'):
        part = hub.get(name)
        parts[name] = part if _has_names(part) else {}
    scalars, info, resumed = parts.values()
    return dict(
        log_scalars=OrderedDict((k, v) for k, v in scalars.items() if type(v) is HistoryBuffer),
        runtime_info=OrderedDict((k, v) for k, v in info.items() if _may_be_known(k, v, folder)),
        resumed_keys={k: v for k, v in resumed.items() if type(v) is bool},
    )


def _may_be_known(key: str, value: Any, folder: Path | None) -> bool:
    """Returns whether an entry of a message hub's ``runtime_info`` may stay."""
    if key == 'cfg':
        return False
    if key.startswith('best_ckpt'):
        return folder is not None and _is_best_checkpoint(value, folder)
    if key.startswith('best_score'):
        return isinstance(value, (int, float, np.number)) or (
            isinstance(value, torch.Tensor) and value.numel() == 1
        )
    if key == 'keep_ckpt_ids':
        return type(value) is list and all(type(step) is int for step in value)
    return is_small(value)


def _is_best_checkpoint(path: Any, folder: Path) -> bool:
    if not isinstance(path, str) or '\0' in path:
        return False
    file = Path(path)
    return file.name.startswith('best_') and file.parent.resolve() == folder.resolve()


def _has_names(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _remove_attributes(checkpoint: dict[Any, Any]) -> None:
    """Leaves dicts and tensors with their methods, in whose place a file can put anything."""
    for parent, key, value in _places(checkpoint):
        if isinstance(value, torch.Tensor) and value.__dict__:
            parent[key] = torch.Tensor.detach(value)
        if type(value) is OrderedDict:
            _keep_versions(value)
    if type(checkpoint) is OrderedDict:
        _keep_versions(checkpoint)


def _keep_versions(state_dict: OrderedDict[Any, Any]) -> None:
    versions = state_dict.__dict__.get('_metadata')
    state_dict.__dict__.clear()
    if _are_versions(versions):
        state_dict.__dict__['_metadata'] = versions


def tensors_in(checkpoint: Any) -> Iterator[torch.Tensor]:
    """Returns the tensors in the dicts and lists of a checkpoint.

    Args:
        checkpoint: Of any depth.
    """
    return (value for _, _, value in _places([checkpoint]) if isinstance(value, torch.Tensor))


def _places(checkpoint: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Returns each entry of dicts and lists: which one, its key or number there, and the value."""
    seen, waiting = set(), [checkpoint]
    while waiting:
        parent = waiting.pop()
        if id(parent) in seen:
            continue
        seen.add(id(parent))
        places = dict.items(parent) if isinstance(parent, dict) else enumerate(parent)
        for key, value in list(places):
            if type(value) in _CONTAINERS:
                waiting.append(value)
            yield parent, key, value


def _are_versions(metadata: Any) -> bool:
    """Returns whether this is what modules write beside a state dict."""
    return _has_names(metadata) and all(
        type(entry) is dict and type(entry.get('version', 0)) in (int, type(None))
        for entry in metadata.values()
    )
