"""``torchvision://`` where torchvision is not installed.

Most configs of mmdet start from ``torchvision://resnet50`` or the like. torchvision only has
the address of the file, and MMEngine has a list of those addresses too.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mmengine
from mmengine.runner.checkpoint import CheckpointLoader, load_from_http

from mmblocks.utils.errors import UserError, did_you_mean

_PREFIXES = ('torchvision://', 'modelzoo://')
_ADDRESSES = Path(mmengine.__path__[0], 'hub', 'torchvision_0.12.json')


def serve_torchvision_scheme() -> None:
    """Lets MMEngine load ``torchvision://`` without torchvision; with it, nothing changes."""
    if find_spec('torchvision') is None:
        CheckpointLoader.register_scheme(_PREFIXES, load_from_torchvision, force=True)


def load_from_torchvision(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Downloads the weights of a torchvision model, or takes them from torch's cache.

    Args:
        filename: Such as ``'torchvision://resnet50'``.
        map_location: As for ``torch.load``.

    Returns:
        The state dict.

    Raises:
        UserError: The list has no such name.
    """
    name = filename.partition('://')[2]
    addresses = json.loads(_ADDRESSES.read_text())
    if name not in addresses:
        near = did_you_mean(name, addresses)
        raise UserError(f'{filename} is not known without torchvision installed{near}')
    return load_from_http(addresses[name], map_location=map_location)
