"""The peers' libraries, which stand in a folder of their own, and building their nets."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmblocks.benchmark.nets import BenchmarkNet
from mmblocks.benchmark.schemas import declare_schemas

# What is imported for a library's nets.
MODULES = dict(
    mmblocks='mmblocks',
    mmdet='mmdet.models',
    mmpretrain='mmpretrain.models.backbones',
    torchvision='torchvision.models',
    timm='timm',
)
PEERS = Path(os.environ.get('MMBLOCKS_PEERS', '.peers'))


@contextlib.contextmanager
def peers_importable(folder: Path = PEERS) -> Iterator[None]:
    """Makes torchvision, timm and mmpretrain importable from a folder.

    They stand apart from the environment that trains, which a torchvision without compiled
    operators would break.

    Args:
        folder: Where they are; a folder that is not there has none of them.
    """
    sys.path.append(str(folder))
    fragment = declare_schemas()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        del fragment


def import_libraries() -> tuple[dict[str, Any], dict[str, str]]:
    """Imports all libraries that can be.

    Returns:
        The modules by library, and for each other library why it could not be imported.
    """
    modules, errors = {}, {}
    for library, name in MODULES.items():
        try:
            modules[library] = import_module(name)
        except Exception as error:  # whatever a library that does not fit torch raises
            errors[library] = f'{type(error).__name__}: {error}'
    return modules, errors


def build(net: BenchmarkNet, library: str, modules: Mapping[str, Any]) -> nn.Module:
    """Builds a net without classifier.

    Args:
        net: The row of the table.
        library: Whose form of it: 'mmblocks' or one of its peers.
        modules: What `import_libraries` has imported.
    """
    if library == 'mmblocks':
        return build_ours(net)
    peer = net.peers[library]
    if library in ('mmdet', 'mmpretrain'):
        with DefaultScope.overwrite_default_scope(library):
            return getattr(modules[library], peer.name)(**peer.options)
    if library == 'timm':
        model = modules[library].create_model(peer.name, **peer.options)
    else:
        model = getattr(modules[library], peer.name)(**peer.options)
    for name in peer.without:
        if hasattr(model, name):
            setattr(model, name, nn.Identity())
    # Behind these are pooling and flattening, which are no modules of all nets.
    return model.features if library == 'torchvision' and hasattr(model, 'features') else model


def build_ours(net: BenchmarkNet, **options: Any) -> nn.Module:
    """Builds our form of a net.

    Args:
        net: The row of the table.
        **options: Further arguments of the backbone.
    """
    return MODELS.build(dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}', **options))
