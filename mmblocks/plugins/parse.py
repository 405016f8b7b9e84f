"""Checking the ``plugins`` argument of a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmblocks.layers.positions import PARALLEL
from mmblocks.utils.accepted import Accepted, is_layer_cfg
from mmblocks.utils.checks import check, shown
from mmblocks.utils.lookup import find_layer
from mmblocks.utils.types import ConfigType

PLUGINS = Accepted(
    lambda value: isinstance(value, Sequence) and not isinstance(value, str), 'a list of dicts'
)
_KEYS = ('cfg', 'stages', 'position', 'init')


class Plugin(NamedTuple):
    """One plugin of a net, checked.

    Attributes:
        cfg: The layer's config: ``type``, its arguments, and optionally ``postfix``.
        stages: Per stage, whether it gets the plugin.
        position: Where in the block, such as 'after_conv2'.
        identity: Whether the plugin starts as one that changes nothing.
    """

    cfg: ConfigType
    stages: tuple[bool, ...]
    position: str
    identity: bool = False


def parse_plugins(
    plugins: Sequence[ConfigType] | None,
    num_built: int,
    num_stages: int,
    positions: Sequence[str],
) -> list[Plugin]:
    """Checks mmdet's ``plugins`` argument.

    Args:
        plugins: Dicts with ``cfg``, ``position`` and optionally ``stages``, one bool per stage
            (all stages if left out), and ``init``: 'identity' for a plugin that changes nothing
            before it is trained, None for one that starts as its layer does. Default: 'identity'
            where it stands parallel to the block, else None. The dicts are not changed.
        num_built: Number of stages of the net that are built.
        num_stages: Number of stages that it can have; of those that are not built something may
            be said, too.
        positions: Positions that the net's blocks have.

    Returns:
        The plugins, in order.

    Raises:
        ValueError: A key is missing or unknown, a position does not exist, ``stages`` has the
            wrong length or picks no stage, or the layer's type is not registered.

    Example:
        >>> plugins = [dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv2')]
        >>> parse_plugins(plugins, 4, 4, ('after_conv1', 'after_conv2'))[0].stages
        (True, True, True, True)
    """
    check('plugins', plugins, PLUGINS, optional=True)
    parsed = []
    for i, plugin in enumerate(plugins or ()):
        name = f'plugins[{i}]'
        if not isinstance(plugin, Mapping):
            raise ValueError(f'{name}={shown(plugin)}: must be a dict with {", ".join(_KEYS)}')
        if unknown := set(plugin) - set(_KEYS):
            raise ValueError(f'{name} has {sorted(unknown)}; accepted are {", ".join(_KEYS)}')
        if missing := {'cfg', 'position'} - set(plugin):
            raise ValueError(f'{name}={plugin} lacks {sorted(missing)}')
        position = plugin['position']
        if position not in positions:
            raise ValueError(
                f'{name}: position={position!r}; the blocks of this net have {", ".join(positions)}'
            )
        init = plugin.get('init', 'identity' if position == PARALLEL else None)
        if init not in ('identity', None):
            raise ValueError(f"{name}: init={init!r} must be 'identity' or None")
        if not is_layer_cfg(plugin['cfg']):
            raise ValueError(
                f"{name}: cfg={shown(plugin['cfg'])} must be a dict with the layer's type"
            )
        find_layer(plugin['cfg']['type'], argument=f'{name}: cfg')
        stages = check_stages(plugin.get('stages'), num_built, num_stages, f'{name}: stages')
        parsed.append(Plugin(dict(plugin['cfg']), stages, position, init == 'identity'))
    return parsed


def check_stages(
    stages: Sequence[bool] | None, num_built: int, num_stages: int, argument: str
) -> tuple[bool, ...]:
    """Checks which stages a config picks.

    Args:
        stages: One bool per stage; None for all.
        num_built: Number of stages that are built.
        num_stages: Number of stages that the net can have.
        argument: Where ``stages`` stands, for the error.

    Returns:
        One bool per stage.

    Raises:
        ValueError: There are too few or too many, or none is picked.

    Example:
        >>> check_stages((False, True), 2, 4, 'stages')
        (False, True)
    """
    if stages is None:
        return (True,) * num_built
    fits = isinstance(stages, Sequence) and num_built <= len(stages) <= num_stages
    if not fits or any(stage not in (False, True) for stage in stages) or not any(stages):
        numbers = str(num_built) if num_built == num_stages else f'{num_built} to {num_stages}'
        raise ValueError(f'{argument}={stages!r} must be {numbers} bools, at least one True')
    return tuple(map(bool, stages))
