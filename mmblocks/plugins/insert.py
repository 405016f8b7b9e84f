"""Plugins in a finished net: where they can stand, and how they run there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from mmblocks.layers.positions import AFTER_BLOCK, PARALLEL
from mmblocks.plugins.build import Place, add_plugins
from mmblocks.plugins.parse import Plugin, parse_plugins
from mmblocks.plugins.shapes import Shapes, module_shapes
from mmblocks.utils.types import ConfigType


class Inserted(NamedTuple):
    """What a config has put into a net at one place.

    Attributes:
        by: The argument that did: 'plugins', 'replace_convs' or 'dcn'.
        where: The position of a plugin; else the convolution whose place it has taken.
    """

    by: str
    where: str


class PluginChain:
    """Runs plugins behind a module or parallel to it, as a forward hook of the module.

    An object and no closure, so that modules can be copied and pickled with it.

    Args:
        owner: The module whose submodules the plugins are.
        names: Their names in it, in running order.
        parallel: Whether they take the module's input, and are added to its output.
    """

    def __init__(self, owner: nn.Module, names: Sequence[str], parallel: bool) -> None:
        self.owner = owner
        self.names = tuple(names)
        self.parallel = parallel

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Returns what the plugins make of the module's input or output."""
        for name in self.names:
            plugin = self.owner.get_submodule(name)
            output = self._add(output, plugin(args[0])) if self.parallel else plugin(output)
        return output

    def _add(self, output: Tensor, added: Tensor) -> Tensor:
        added = added.to(output.dtype)
        # A stage of layers without padding falls short of what its stride says.
        if added.shape[2:] != output.shape[2:]:
            added = F.interpolate(added, output.shape[2:], mode='bilinear')
        return output + added


def insert_plugins(
    net: nn.Module,
    stages: Sequence[Sequence[str]],
    plugins: Sequence[ConfigType] | None,
    num_stages: int,
) -> tuple[dict[str, Inserted], dict[int, list[PluginChain]]]:
    """Puts plugins into the blocks of a net, behind its convolutions or parallel to the blocks.

    Args:
        net: The net.
        stages: The names of each stage's modules.
        plugins: The config, as :func:`parse_plugins` takes it.
        num_stages: Number of stages that the net can have, of which some may not be built.

    Returns:
        What was put in, by its name in the net; and of the stages that have no blocks, the chains
        that the net has to run with them.

    Raises:
        ValueError: A plugin cannot stand where it shall.
    """
    if not plugins:
        parse_plugins(plugins, len(stages), num_stages, ())
        return {}, {}
    parsed = parse_plugins(plugins, len(stages), num_stages, plugin_positions(net, stages))
    # A size that is halved evenly as often as any net halves it.
    shapes = module_shapes(net, 256)
    inserted: dict[str, Inserted] = {}
    whole: dict[int, list[PluginChain]] = {}
    used: set[int] = set()
    for i, names in enumerate(stages):
        here = [plugin for plugin in parsed if plugin.stages[i]]
        blocks = dict(_blocks(net, names))
        for path, block in blocks.items():
            for position, children in _insert_in_block(block, path, here, shapes).items():
                inserted |= {f'{path}.{name}': Inserted('plugins', position) for name in children}
                used |= {id(plugin) for plugin in here if plugin.position == position}
        if not any(AFTER_BLOCK in _positions(block) for block in blocks.values()):
            whole[i] = _insert_behind_stage(net, i, names, here, shapes)
            for chain in whole[i]:
                position = PARALLEL if chain.parallel else AFTER_BLOCK
                inserted |= {name: Inserted('plugins', position) for name in chain.names}
                used |= {id(plugin) for plugin in here if plugin.position == position}
    for i, plugin in enumerate(parsed):
        # Where nothing is said of the stages that there are, it is about some that were not built.
        if id(plugin) not in used and any(plugin.stages[: len(stages)]):
            raise ValueError(
                f'plugins[{i}]: no block of the stages {plugin.stages} has {plugin.position!r}'
            )
    return inserted, whole


def plugin_positions(net: nn.Module, stages: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the positions that plugins can have in a net.

    Args:
        net: The net.
        stages: The names of each stage's modules.
    """
    blocks = [block for names in stages for _, block in _blocks(net, names)]
    inner = {position for block in blocks for position in _positions(block)}
    return (*sorted(inner - {AFTER_BLOCK, PARALLEL}), AFTER_BLOCK, PARALLEL)


def _blocks(net: nn.Module, names: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    for name in names:
        for path, module in net.get_submodule(name).named_modules(prefix=name):
            if _positions(module):
                yield path, module


def _positions(module: nn.Module) -> dict[str, str]:
    """Returns the submodules that plugins run with, by position; nothing for what is no block."""
    return getattr(module, 'plugin_positions', {})


def _insert_in_block(
    block: nn.Module, path: str, plugins: Sequence[Plugin], shapes: Shapes
) -> dict[str, list[str]]:
    """Puts plugins into one block; returns their names by position."""
    names: dict[str, list[str]] = {}
    modules = dict(block.named_modules())
    # What runs parallel to a block is added before anything runs behind it.
    for position in sorted(_positions(block), key=lambda name: name != PARALLEL):
        here = [plugin for plugin in plugins if plugin.position == position]
        target = _positions(block)[position]
        if here and target in modules:
            in_shape, out_shape = shapes[f'{path}.{target}' if target else path]
            parallel = position == PARALLEL
            place = Place(in_shape if parallel else out_shape, out_shape)
            names[position] = add_plugins(block, here, place)
            modules[target].register_forward_hook(PluginChain(block, names[position], parallel))
    return names


def _insert_behind_stage(
    net: nn.Module, i: int, names: Sequence[str], plugins: Sequence[Plugin], shapes: Shapes
) -> list[PluginChain]:
    """Makes plugins of a stage without blocks submodules of the net; it has to run them."""
    before, after = shapes[names[0]][0], shapes[names[-1]][1]
    chains = []
    for position in (PARALLEL, AFTER_BLOCK):
        here = [
            plugin._replace(cfg=_with_postfix(plugin.cfg, f'_stage{i}'))
            for plugin in plugins
            if plugin.position == position
        ]
        parallel = position == PARALLEL
        place = Place(before if parallel else after, after, resized=parallel)
        if here:
            chains.append(PluginChain(net, add_plugins(net, here, place), parallel))
    return chains


def _with_postfix(cfg: Mapping[str, object], postfix: str) -> dict[str, object]:
    return dict(cfg, postfix=f'{cfg.get("postfix", "")}{postfix}')
