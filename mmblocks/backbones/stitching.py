"""Stitching: what a config puts into a finished net, or in place of its convolutions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmblocks.layers.lookup import accepted_arguments, find_layer
from mmblocks.layers.plugins import (
    BEHIND,
    BESIDE,
    Place,
    Plugin,
    add_plugins,
    check_stages,
    parse_plugins,
)
from mmblocks.layers.same_padding import Conv2dSamePadding

_KERNELS: dict[str, Callable[[nn.Conv2d], bool]] = {
    'spatial': lambda conv: max(conv.kernel_size) > 1,
    'pointwise': lambda conv: max(conv.kernel_size) == 1,
    'all': lambda conv: True,
}


class ConvSwap(NamedTuple):
    """Layers that take the place of convolutions.

    Attributes:
        cfg: The layer's config.
        stages: One bool per stage; None for all.
        kernels: Which convolutions: 'spatial', 'pointwise' or 'all'.
        fallback_on_stride: Whether convolutions with a stride stay as they are.
    """

    cfg: dict[str, Any]
    stages: Sequence[bool] | None
    kernels: str
    fallback_on_stride: bool = False


def as_swap(conv_cfg: Mapping[str, Any] | None) -> ConvSwap | None:
    """Tells whether a ``conv_cfg`` puts a layer of another kind in place of some convolutions.

    Args:
        conv_cfg: The config. Beside the layer's own arguments it may have ``stages``, one bool
            per stage, ``kernels``, and ``fallback_on_stride``.

    Returns:
        What is swapped; None for a config of convolutions, with which the whole net is built.

    Raises:
        ValueError: ``kernels`` is none of the three.
        KeyError: The layer is not registered.
    """
    if conv_cfg is None:
        return None
    cfg = dict(conv_cfg)
    layer = find_layer(cfg.get('type', 'Conv2d'), argument='conv_cfg')
    chooses = {'stages', 'kernels', 'fallback_on_stride'} & cfg.keys()
    if issubclass(layer, nn.Conv2d) and not chooses:
        return None
    swap = ConvSwap(
        cfg,
        cfg.pop('stages', None),
        cfg.pop('kernels', 'spatial'),
        cfg.pop('fallback_on_stride', False),
    )
    if swap.kernels not in _KERNELS:
        raise ValueError(f'conv_cfg: kernels={swap.kernels!r} must be one of {list(_KERNELS)}')
    return swap


def swap_convs(backbone: nn.Module, stages: Sequence[Sequence[str]], swap: ConvSwap) -> None:
    """Replaces convolutions in the stages of a net.

    Args:
        backbone: The net.
        stages: The names of each stage's modules.
        swap: What takes their place.

    Raises:
        ValueError: No convolution is chosen, or the layer cannot do what one of them does.
    """
    chosen = check_stages(swap.stages, len(stages), True, 'conv_cfg: stages')
    found = 0
    for names, picked in zip(stages, chosen, strict=False):
        for name in names if picked else ():
            for inner, module in list(backbone.get_submodule(name).named_modules()):
                if _is_swapped(module, swap):
                    path = f'{name}.{inner}' if inner else name
                    parent, _, leaf = path.rpartition('.')
                    new = _replacement(module, swap.cfg, path)
                    setattr(backbone.get_submodule(parent), leaf, new)
                    found += 1
    if not found and any(chosen[: len(stages)]):
        raise ValueError(
            f'conv_cfg={swap.cfg}: {type(backbone).__name__} has no {swap.kernels} convolution in '
            f'the stages {chosen}'
        )


def _is_swapped(module: nn.Module, swap: ConvSwap) -> bool:
    if not isinstance(module, nn.Conv2d) or not _KERNELS[swap.kernels](module):
        return False
    return not swap.fallback_on_stride or max(module.stride) == 1


def _replacement(conv: nn.Conv2d, cfg: Mapping[str, Any], path: str) -> nn.Module:
    layer = find_layer(cfg['type'], argument='conv_cfg')
    # Of a layer that wants more than a map, the form that makes the rest itself.
    layer = getattr(layer, 'as_conv', lambda: layer)()
    accepted = accepted_arguments(layer)
    same = tuple(d * (k // 2) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    # One that pads by itself says that it pads nothing.
    padding = same if isinstance(conv, Conv2dSamePadding) else conv.padding
    # What the layer has to be told, and where it may be left untold.
    told = dict(
        in_channels=(conv.in_channels, False),
        out_channels=(conv.out_channels, conv.out_channels == conv.in_channels),
        kernel_size=(conv.kernel_size, True),
        stride=(conv.stride, conv.stride == (1, 1)),
        padding=(padding, padding == same),
        dilation=(conv.dilation, conv.dilation == (1, 1)),
        # A layer that keeps the channels by nature may be a depthwise one.
        groups=(
            conv.groups,
            conv.groups == 1
            or (conv.groups == conv.in_channels and 'out_channels' not in accepted),
        ),
        bias=(conv.bias is not None, True),
    )
    options = {key: value for key, value in cfg.items() if key != 'type'}
    for name, (value, untold) in told.items():
        if name in accepted:
            options.setdefault(name, _as_int(value))
        elif not untold:
            raise ValueError(
                f'conv_cfg: {layer.__name__} cannot take the place of {path}, {conv}: it has no '
                f'{name}; choose others with stages, kernels or fallback_on_stride=True'
            )
    try:
        new = layer(**options)
        new.replaces = str(conv)
        return new
    except ValueError as error:
        raise ValueError(
            f'conv_cfg: {layer.__name__} cannot take the place of {path}, {conv}: {error}'
        ) from error


def _as_int(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


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
    bare = [not any(BEHIND in block.plugin_places for _, block in found) for found in blocks]
    known = plugin_positions(backbone, stages)
    parsed = parse_plugins(plugins, len(stages), known, at_least=cut)
    shapes = trace(backbone)
    whole: dict[int, dict[str, list[str]]] = {}
    used: set[int] = set()
    for i, (names, found) in enumerate(zip(stages, blocks, strict=True)):
        here = [plugin for plugin in parsed if plugin.stages[i]]
        for path, block in found:
            used |= _insert(block, path, here, shapes)
        if bare[i] and (behind := [p for p in here if p.position in (BEHIND, BESIDE)]):
            before, after = shapes[names[0]][0], shapes[names[-1]][1]
            named = [p._replace(cfg=_named(p.cfg, f'_stage{i}')) for p in behind]
            whole[i] = {
                position: add_plugins(backbone, named, position, _place(before, after, position))
                for position in (BESIDE, BEHIND)
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
    """Gives the positions that plugins can have in a net.

    Args:
        backbone: The net.
        stages: The names of each stage's modules.
    """
    blocks = [block for names in stages for _, block in _blocks(backbone, names)]
    inner = {position for block in blocks for position in block.plugin_places}
    return (*sorted(inner - {BEHIND, BESIDE}), BEHIND, BESIDE)


def _blocks(backbone: nn.Module, names: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    for name in names:
        for path, module in backbone.get_submodule(name).named_modules(prefix=name):
            if getattr(module, 'plugin_places', None):
                yield path, module


def _named(cfg: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    return dict(cfg, postfix=f'{cfg.get("postfix", "")}{suffix}')


def _place(before: torch.Size, after: torch.Size, position: str) -> Place:
    if position == BESIDE:
        return Place(before[1], after[1], round(before[2] / after[2]))
    return Place(after[1], after[1])


def _insert(
    block: nn.Module, path: str, plugins: Sequence[Plugin], shapes: Mapping[str, Any]
) -> set[int]:
    """Puts plugins into one block; gives the ids of those that have found a place."""
    used = set()
    places = block.plugin_places
    # What stands beside a block is added before anything runs behind it.
    for position in sorted(places, key=lambda name: name != BESIDE):
        here = [plugin for plugin in plugins if plugin.position == position]
        target = block.get_submodule(places[position]) if _has(block, places[position]) else None
        if not here or target is None:
            continue
        before, after = shapes[f'{path}.{places[position]}' if places[position] else path]
        names = add_plugins(block, here, position, _place(before, after, position))
        if position not in (BEHIND, BESIDE) and hasattr(block, 'run_behind'):
            block.run_behind(position, names)
        else:
            target.register_forward_hook(_Stitched(block, tuple(names), position == BESIDE))
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
            output = output + plugin(args[0]) if self.beside else plugin(output)
        return output


def trace(backbone: nn.Module, image_size: int = 224) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Gives the shapes of what each module of a net takes and gives, from a run without numbers.

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
    twin = copy.deepcopy(backbone).to_empty(device=device).eval()
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
