"""Plugins of a finished net: where they can stand, and how they run there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmblocks.layers.positions import AFTER_BLOCK, PARALLEL
from mmblocks.plugins.parse import Place, Plugin, add_plugins, parse_plugins


def insert_plugins(
    backbone: nn.Module,
    stages: Sequence[Sequence[str]],
    plugins: Sequence[dict],
    cut: bool,
) -> dict[int, dict[str, list[str]]]:
    """Puts plugins into the blocks of a net, behind its convolutions or beside the blocks.

    Args:
        backbone: The net.
        stages: The names of each stage's modules.
        plugins: The config.
        cut: Whether there are more stages, which were not built.

    Returns:
        For the stages that have no blocks, the names of the plugins that are now the net's own, by
        position; the net has to run them behind, or beside, the stage.

    Raises:
        ValueError: A plugin cannot stand where it shall.
    """
    blocks = [list(_blocks(backbone, names)) for names in stages]
    bare = [
        not any(AFTER_BLOCK in block.plugin_positions for _, block in found) for found in blocks
    ]
    known = plugin_positions(backbone, stages)
    parsed = parse_plugins(plugins, len(stages), known, at_least=cut)
    # A size that is halved evenly as often as any net halves it.
    shapes = trace(backbone, 256)
    whole: dict[int, dict[str, list[str]]] = {}
    used: set[int] = set()
    for i, (names, found) in enumerate(zip(stages, blocks, strict=True)):
        here = [plugin for plugin in parsed if plugin.stages[i]]
        for path, block in found:
            used |= _insert(block, path, here, shapes)
        if bare[i] and (behind := [p for p in here if p.position in (AFTER_BLOCK, PARALLEL)]):
            before, after = shapes[names[0]][0], shapes[names[-1]][1]
            named = [p._replace(cfg=_named(p.cfg, f'_stage{i}')) for p in behind]
            whole[i] = {
                position: add_plugins(backbone, named, position, place)
                for position, place in (
                    # Without padding, the stage's map falls short of what its stride says.
                    (PARALLEL, Place(before[1:], after[1:], resized=True)),
                    (AFTER_BLOCK, Place(after[1:], after[1:])),
                )
            }
            used |= {id(p) for p in behind}
    for i, plugin in enumerate(parsed):
        # Where nothing is said of the stages that there are, it is about some that were not built.
        if id(plugin) not in used and any(plugin.stages[: len(stages)]):
            raise ValueError(
                f'plugins[{i}]: no block of the stages {plugin.stages} has {plugin.position!r}'
            )
    return whole


def plugin_positions(backbone: nn.Module, stages: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the positions that plugins can have in a net.

    Args:
        backbone: The net.
        stages: The names of each stage's modules.
    """
    blocks = [block for names in stages for _, block in _blocks(backbone, names)]
    inner = {position for block in blocks for position in block.plugin_positions}
    return (*sorted(inner - {AFTER_BLOCK, PARALLEL}), AFTER_BLOCK, PARALLEL)


def _blocks(backbone: nn.Module, names: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    for name in names:
        for path, module in backbone.get_submodule(name).named_modules(prefix=name):
            if getattr(module, 'plugin_positions', None):
                yield path, module


def _named(cfg: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    return dict(cfg, postfix=f'{cfg.get("postfix", "")}{suffix}')


def _insert(
    block: nn.Module, path: str, plugins: Sequence[Plugin], shapes: Mapping[str, Any]
) -> set[int]:
    """Puts plugins into one block; gives the ids of those that have found a place."""
    used = set()
    places = block.plugin_positions
    # What stands beside a block is added before anything runs behind it.
    for position in sorted(places, key=lambda name: name != PARALLEL):
        here = [plugin for plugin in plugins if plugin.position == position]
        target = block.get_submodule(places[position]) if _has(block, places[position]) else None
        if not here or target is None:
            continue
        before, after = shapes[f'{path}.{places[position]}' if places[position] else path]
        place = Place((before if position == PARALLEL else after)[1:], after[1:])
        names = add_plugins(block, here, position, place)
        target.register_forward_hook(_Stitched(block, tuple(names), position == PARALLEL))
        used |= {id(plugin) for plugin in here}
    return used


def _has(block: nn.Module, name: str) -> bool:
    return name == '' or any(path == name for path, _ in block.named_modules())


class _Stitched:
    """Runs plugins behind or beside a module; an object, so that modules can be pickled."""

    def __init__(self, block: nn.Module, names: tuple[str, ...], beside: bool) -> None:
        self.block = block
        self.names = names
        self.beside = beside

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        for name in self.names:
            plugin = getattr(self.block, name)
            output = output + plugin(args[0]).to(output.dtype) if self.beside else plugin(output)
        return output


def trace(backbone: nn.Module, image_size: int = 224) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Returns the shapes of what each module of a net takes and gives, from a run without numbers.

    Args:
        backbone: The net; it is not changed.
        image_size: Height and width of the image, in pixels.

    Returns:
        Shapes of input and output by the name of the module; of modules that take one tensor and
        give one.
    """
    try:
        return _trace(backbone, image_size, 'meta')
    except Exception:  # compiled operators have no form without numbers
        return _trace(backbone, image_size, 'cpu')


@torch.no_grad()
def _trace(
    backbone: nn.Module, image_size: int, device: str
) -> dict[str, tuple[torch.Size, torch.Size]]:
    twin = copy.deepcopy(backbone).to_empty(device=device)
    twin.eval()
    # Blocks that are recomputed one by one leave the modules around them out.
    twin.with_cp = False
    if device != 'meta':
        for tensor in twin.state_dict().values():
            tensor.zero_()
    shapes: dict[str, tuple[torch.Size, torch.Size]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                shapes[name] = (args[0].shape, output.shape)

        return hook

    for name, module in twin.named_modules():
        if name:
            module.register_forward_hook(note(name))
    channels = next(m.in_channels for m in twin.modules() if hasattr(m, 'in_channels'))
    x = torch.empty(1, channels, image_size, image_size, device=device)
    for i in range(len(twin._group_names)):
        x = twin._run_group(i, x)
    return shapes
