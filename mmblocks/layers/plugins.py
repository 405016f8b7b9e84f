"""Plugins: modules that a config inserts behind the convolutions of a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mmcv.cnn import build_plugin_layer
from torch import nn

from mmblocks.layers.lookup import find_layer


class Plugin(NamedTuple):
    """One plugin of a net, checked.

    Attributes:
        cfg: The layer's config: ``type``, its arguments, and optionally ``postfix``.
        stages: Per stage, whether it gets the plugin.
        position: Where in the block, such as 'after_conv2'.
    """

    cfg: dict
    stages: tuple[bool, ...]
    position: str


def parse_plugins(
    plugins: Sequence[dict] | None, num_stages: int, positions: Sequence[str]
) -> list[Plugin]:
    """Checks mmdet's ``plugins`` argument.

    Args:
        plugins: Dicts with ``cfg``, ``position`` and optionally ``stages``, one bool per stage
            (all stages if left out). The dicts are not changed.
        num_stages: Number of stages of the net.
        positions: Positions that the net's blocks have.

    Returns:
        The plugins, in order.

    Raises:
        ValueError: A key is missing or unknown, a position does not exist, or ``stages`` has the
            wrong length or picks no stage.
        KeyError: The layer's type is not registered.

    Example:
        >>> plugins = [dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv2')]
        >>> parse_plugins(plugins, 4, ('after_conv1', 'after_conv2'))[0].stages
        (True, True, True, True)
    """
    parsed = []
    for i, plugin in enumerate(plugins or ()):
        name = f'plugins[{i}]'
        if unknown := set(plugin) - {'cfg', 'stages', 'position'}:
            raise ValueError(f'{name} has {sorted(unknown)}; accepted are cfg, stages and position')
        if missing := {'cfg', 'position'} - set(plugin):
            raise ValueError(f'{name}={plugin} lacks {sorted(missing)}')
        if plugin['position'] not in positions:
            raise ValueError(
                f'{name}: position={plugin["position"]!r}; the blocks of this net have '
                f'{", ".join(positions)}'
            )
        stages = plugin.get('stages')
        stages = (True,) * num_stages if stages is None else tuple(map(bool, stages))
        if len(stages) != num_stages or not any(stages):
            raise ValueError(
                f'{name}: stages={plugin["stages"]} must be {num_stages} bools, at least one True'
            )
        if 'type' not in plugin['cfg']:
            raise ValueError(f'{name}: cfg={plugin["cfg"]} lacks a type')
        find_layer(plugin['cfg']['type'], argument=f'{name}: cfg')
        parsed.append(Plugin(dict(plugin['cfg']), stages, plugin['position']))
    return parsed


def add_plugins(
    block: nn.Module, plugins: Sequence[Plugin], position: str, in_channels: int
) -> list[str]:
    """Builds a block's plugins of one position as submodules, named as mmdet names them.

    Args:
        block: Gets the plugins as submodules: the layer's abbreviation plus ``postfix``.
        plugins: Plugins of the block's stage; those of other positions are passed over.
        position: Which position to build.
        in_channels: Channels of the feature map at that position.

    Returns:
        The names, in the order of running: each plugin takes the previous one's output.

    Raises:
        ValueError: Two plugins of the block would get the same name.
    """
    names = []
    for plugin in plugins:
        if plugin.position != position:
            continue
        cfg = dict(plugin.cfg)
        name, layer = build_plugin_layer(
            cfg, postfix=cfg.pop('postfix', ''), in_channels=in_channels
        )
        if hasattr(block, name):
            raise ValueError(
                f'plugins: a block has two parts named {name!r}; give one of them a postfix, as '
                f"in cfg=dict(type={plugin.cfg['type']!r}, postfix='1')"
            )
        block.add_module(name, layer)
        names.append(name)
    return names
