"""The structure of a net as a tree, with shapes and all that is stitched into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.tree import Tree

from mmblocks.backbones.base import BaseBackbone
from mmblocks.describe.catalog import build_on_meta
from mmblocks.plugins.shapes import Shapes, module_shapes
from mmblocks.utils.probe import as_size


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
    shapes = module_shapes(backbone, image_size)
    tree = Tree(type(backbone).__name__)
    for i in range(backbone.num_groups):
        names = backbone.group_names(i)
        group = tree.add(f'{_title(backbone, i)}: {", ".join(names)}{_result(shapes, names[-1:])}')
        for name in backbone.part_names(i):
            _add_inserted(group, name, backbone, shapes)
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


def _add_inserted(tree: Tree, path: str, backbone: BaseBackbone, shapes: Shapes) -> None:
    """Adds a module that is a block or was inserted, else those of its parts that are."""
    module = backbone.get_submodule(path)
    kind = type(getattr(module, 'layer', module)).__name__
    if entry := backbone.inserted.get(path):
        if entry.by == 'plugins':
            start = ' (starts as the identity)' if kind != type(module).__name__ else ''
            name = path.rpartition('.')[2]
            tree.add(f'{entry.where}: {name} {kind}{_result(shapes, [path])}{start}')
        else:
            place = 'of dcn' if entry.by == 'dcn' else f'in place of {entry.where}'
            tree.add(f'{path} {kind} {place}{_result(shapes, [path])}')
        return
    if getattr(module, 'plugin_positions', None):
        before = as_size(shapes[path][0]) if path in shapes else ''
        tree = tree.add(f'{path} {kind} {before}{_result(shapes, [path])}')
    for name, _ in module.named_children():
        _add_inserted(tree, f'{path}.{name}', backbone, shapes)


def _result(shapes: Shapes, names: Sequence[str]) -> str:
    return ''.join(f' -> {as_size(shapes[name][1])}' for name in names if name in shapes)
