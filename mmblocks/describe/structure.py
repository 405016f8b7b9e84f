"""The structure of a net as a tree, with shapes and all that is stitched into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.tree import Tree
from torch import nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.describe.catalog import build_on_meta
from mmblocks.plugins.insert import trace


def structure(cfg: Mapping[str, Any], image_size: int = 224) -> str:
    r"""Draws a backbone as a tree.

    Args:
        cfg: Its config, with or without the ``mmblocks.`` prefix. No weights are allocated.
        image_size: Height and width of the image, in pixels.

    Returns:
        Lines of text: groups, their blocks, and in them the plugins and the layers that have
        taken the place of convolutions, those of ``dcn`` too. Shapes are channels x height x width.

    Raises:
        ValueError: The config names no backbone of mmblocks.

    Example:
        >>> plugin = dict(cfg=dict(type='mmblocks.ECA'), position='after_block')
        >>> stages = (True, False, False, False)
        >>> cfg = dict(type='ResNet', depth=18, plugins=[dict(plugin, stages=stages)])
        >>> print('\n'.join(structure(cfg, 64).splitlines()[:8]))
        ResNet
        ├── stem: conv1, bn1, relu, maxpool -> 64x16x16
        ├── output 0, stride 4: layer1 -> 64x16x16
        │   ├── layer1.0 BasicBlock 64x16x16 -> 64x16x16
        │   │   └── after_block: eca ECA -> 64x16x16
        │   └── layer1.1 BasicBlock 64x16x16 -> 64x16x16
        │       └── after_block: eca ECA -> 64x16x16
        ├── output 1, stride 8: layer2 -> 128x8x8
    """
    backbone = build_on_meta({key: value for key, value in cfg.items() if key != 'init_cfg'})
    shapes = trace(backbone, image_size)
    tree = Tree(type(backbone).__name__)
    for i, names in enumerate(backbone._group_names):
        group = tree.add(f'{_title(backbone, i)}: {", ".join(names)}{_result(shapes, names[-1:])}')
        for name in names:
            _add_stitched(group, name, backbone.get_submodule(name), shapes)
        for plugins in backbone._group_plugins.get(i, {}).values():
            for name in plugins:
                _add_stitched(group, name, backbone.get_submodule(name), shapes)
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(tree, markup=False, highlight=False)
    return '\n'.join(line.rstrip() for line in capture.get().splitlines())


def _title(backbone: BaseBackbone, i: int) -> str:
    if i in backbone._out_groups:
        k = backbone._out_groups.index(i)
        return f'output {backbone.out_indices[k]}, stride {backbone.out_strides[k]}'
    if i in backbone._stage_groups:
        return f'stage {backbone._stage_groups.index(i)}'
    return 'stem'


def _add_stitched(tree: Tree, path: str, module: nn.Module, shapes: Mapping[str, Any]) -> None:
    """Adds a module if it is a block or something stitched, else what of that is in it."""
    kind = type(getattr(module, 'layer', module)).__name__
    if getattr(module, 'is_plugin', False):
        name = path.rpartition('.')[2]
        start = ' (starts as the identity)' if kind != type(module).__name__ else ''
        tree.add(f'{module.position}: {name} {kind}{_result(shapes, [path])}{start}')
        return
    if replaced := getattr(module, 'replaces', ''):
        tree.add(f'{path} {kind} in place of {replaced}{_result(shapes, [path])}')
        return
    if getattr(module, 'plugin_positions', None):
        before = _size(shapes[path][0]) if path in shapes else ''
        tree = tree.add(f'{path} {kind} {before}{_result(shapes, [path])}')
    for name, child in module.named_children():
        child_path = f'{path}.{name}'
        if name == getattr(module, 'dcn_conv', None):
            tree.add(f'{child_path} {type(child).__name__} of dcn{_result(shapes, [child_path])}')
        else:
            _add_stitched(tree, child_path, child, shapes)


def _result(shapes: Mapping[str, Any], names: Sequence[str]) -> str:
    return ''.join(f' -> {_size(shapes[name][1])}' for name in names if name in shapes)


def _size(shape: torch.Size) -> str:
    return 'x'.join(map(str, shape[1:]))
