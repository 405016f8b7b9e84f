"""Plugins: modules that a config inserts into the blocks of a net."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmcv.cnn import build_plugin_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmblocks.layers.positions import PARALLEL
from mmblocks.utils.checks import Accepted, is_layer_cfg, shown
from mmblocks.utils.errors import first_line
from mmblocks.utils.lookup import accepted_arguments, find_layer
from mmblocks.utils.probe import as_size, clone_input, probe_layer

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

    cfg: dict
    stages: tuple[bool, ...]
    position: str
    identity: bool = False


class Place(NamedTuple):
    """What stands where a plugin goes.

    Attributes:
        in_shape: Channels, height and width of what comes in, for some size of images.
        out_shape: The same of what must come out.
        resized: Whether what it gives is resized to that, so that a padded layer will do.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    resized: bool = False

    @property
    def in_channels(self) -> int:
        """Channels of what the plugin takes."""
        return self.in_shape[0]

    @property
    def out_channels(self) -> int:
        """Channels of what it must give."""
        return self.out_shape[0]

    @property
    def stride(self) -> int:
        """Pixels of the one per pixel of the other."""
        return round(self.in_shape[1] / self.out_shape[1])

    def is_filled_by(self, size: tuple[int, ...]) -> bool:
        """Whether a layer that gives such maps can stand here.

        Args:
            size: Channels, height and width.
        """
        channels, *sides = size
        if channels != self.out_channels or len(sides) != 2:
            return False
        for side, taken, needed in zip(sides, self.in_shape[1:], self.out_shape[1:], strict=True):
            padded = math.ceil(taken / self.stride) if self.resized else needed
            if not min(padded, needed) <= side <= max(padded, needed):
                return False
        return True


def parse_plugins(
    plugins: Sequence[dict] | None,
    num_stages: int,
    positions: Sequence[str],
    at_least: bool = False,
) -> list[Plugin]:
    """Checks mmdet's ``plugins`` argument.

    Args:
        plugins: Dicts with ``cfg``, ``position`` and optionally ``stages``, one bool per stage
            (all stages if left out), and ``init``: 'identity' for a plugin that changes nothing
            before it is trained, None for one that starts as its layer does. Default: 'identity'
            where it stands parallel to the block, else None. The dicts are not changed.
        num_stages: Number of stages of the net.
        positions: Positions that the net's blocks have.
        at_least: Whether there may be more stages, which were not built.

    Returns:
        The plugins, in order.

    Raises:
        ValueError: A key is missing or unknown, a position does not exist, ``stages`` has the
            wrong length or picks no stage, or the layer's type is not registered.

    Example:
        >>> plugins = [dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv2')]
        >>> parse_plugins(plugins, 4, ('after_conv1', 'after_conv2'))[0].stages
        (True, True, True, True)
    """
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
        stages = check_stages(plugin.get('stages'), num_stages, at_least, f'{name}: stages')
        parsed.append(Plugin(dict(plugin['cfg']), stages, position, init == 'identity'))
    return parsed


def check_stages(
    stages: Sequence[bool] | None, num_stages: int, at_least: bool, argument: str
) -> tuple[bool, ...]:
    """Checks which stages a config picks.

    Args:
        stages: One bool per stage; None for all.
        num_stages: Number of stages.
        at_least: Whether there may be more, which were not built.
        argument: Where ``stages`` stands, for the error.

    Returns:
        One bool per stage.

    Raises:
        ValueError: There are too few or too many, or none is picked.
    """
    if stages is None:
        return (True,) * num_stages
    # Where more stages could have been built, something may be said of them too.
    fits = isinstance(stages, Sequence) and (
        len(stages) >= num_stages if at_least else len(stages) == num_stages
    )
    if not fits or any(stage not in (False, True) for stage in stages) or not any(stages):
        raise ValueError(f'{argument}={stages!r} must be {num_stages} bools, at least one True')
    return tuple(map(bool, stages))


def add_plugins(
    block: nn.Module, plugins: Sequence[Plugin], position: str, place: Place
) -> list[str]:
    """Builds a block's plugins of one position as submodules, named as mmdet names them.

    Args:
        block: Gets the plugins as submodules: the layer's abbreviation plus ``postfix``.
        plugins: Plugins of the block's stage; those of other positions are passed over.
        position: Which position to build.
        place: What stands there.

    Returns:
        The names, in the order of running: each plugin takes the previous one's output.

    Raises:
        ValueError: Two plugins of the block would get the same name, or a layer cannot give what
            has to stand there.
    """
    names = []
    for plugin in plugins:
        if plugin.position != position:
            continue
        options = _with_channels(plugin.cfg, place, position)
        try:
            name, layer = build_plugin_layer(options, postfix=options.pop('postfix', ''))
        except Exception as error:
            raise ValueError(
                f'plugins: cfg={shown(plugin.cfg)} cannot be built at {position}: '
                f'{first_line(error)}'
            ) from error
        _check_fits(layer, place, position)
        if plugin.identity:
            layer = IdentityStart(layer, place.out_channels, beside=position == PARALLEL)
        if hasattr(block, name):
            raise ValueError(
                f'plugins: a block has two parts named {name!r}; give one of them a postfix, as '
                f"in cfg=dict(type={plugin.cfg['type']!r}, postfix='1')"
            )
        # Weights of the plain net have none for it.
        layer.is_plugin, layer.position = True, position
        block.add_module(name, layer)
        names.append(name)
    return names


def _check_fits(layer: nn.Module, place: Place, position: str) -> None:
    """Raises unless a layer gives what has to stand there; keeps it from writing into its input."""
    kind = type(layer).__name__
    try:
        trial = probe_layer(layer, place.in_shape)
    except ValueError as error:
        raise ValueError(f'plugins: {kind} at {position} does not fit: {error}') from error
    if trial.out_shape is not None and not place.is_filled_by(trial.out_shape):
        raise ValueError(
            f'plugins: {kind} at {position} makes {as_size(trial.out_shape)} of '
            f'{as_size(place.in_shape)}, but {as_size(place.out_shape)} is needed there (channels, '
            'height, width)'
        )
    if trial.in_place:
        clone_input(layer)


def _with_channels(cfg: dict[str, Any], place: Place, position: str) -> dict[str, Any]:
    """Completes a layer's config by what it has to take and to give, as far as it can be told."""
    layer = find_layer(cfg['type'], argument='plugins: cfg')
    accepted = accepted_arguments(layer)
    options = dict(cfg, type=layer)
    in_name = next((name for name in ('in_channels', 'channels') if name in accepted), None)
    told = dict(out_channels=place.out_channels, stride=place.stride)
    if in_name is not None:
        told[in_name] = place.in_channels
    for name, value in told.items():
        plain = (place.in_channels if name == 'out_channels' else 1) == value
        if name in accepted or name == in_name:
            options.setdefault(name, value)
        elif not plain:
            raise ValueError(
                f'plugins: {layer.__name__} at {position} would have to take '
                f'{place.in_channels} channels and give {place.out_channels} at stride '
                f'{place.stride}, but it has no argument {name}; it fits where a block keeps '
                'channels and size (stages=...)'
            )
        if name in options and options[name] != value and name != 'stride':
            raise ValueError(
                f'plugins: {layer.__name__} at {position} has {name}={options[name]}, but '
                f'{value} are needed there; leave {name} out'
            )
    return options


class IdentityStart(BaseModule):
    """Lets a layer begin as one that changes nothing: it is faded in by a weight that starts at 0.

    Args:
        layer: The layer.
        channels: Channels that it gives.
        beside: Whether it stands beside what it adds to, instead of behind it.

    Shape:
        As the layer's.

    Example:
        >>> import torch
        >>> x = torch.rand(2, 8, 4, 4)
        >>> torch.equal(IdentityStart(nn.Conv2d(8, 8, 1), 8)(x), x)
        True
    """

    def __init__(self, layer: nn.Module, channels: int, beside: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.gate = nn.Parameter(torch.zeros(channels, 1, 1))
        self.beside = beside

    def forward(self, x: Tensor) -> Tensor:
        """Runs the layer."""
        out = self.layer(x)
        if self.beside:
            return self.gate * out
        # Mixed precision would promote the sum to the gate's.
        return x + (self.gate * (out - x)).to(x.dtype)
