"""Building plugins for a place in a net, and proving that they fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmcv.cnn import build_plugin_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmblocks.layers.positions import PARALLEL
from mmblocks.plugins.parse import Plugin
from mmblocks.utils.checks import shown
from mmblocks.utils.errors import first_line
from mmblocks.utils.lookup import accepted_arguments, find_layer
from mmblocks.utils.probe import as_size, clone_input, probe_layer
from mmblocks.utils.types import ConfigType


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


def add_plugins(owner: nn.Module, plugins: Sequence[Plugin], place: Place) -> list[str]:
    """Builds the plugins of one place as submodules, named as mmdet names them.

    Args:
        owner: Gets the plugins as submodules: the layer's abbreviation plus ``postfix``.
        plugins: The plugins, all of one position.
        place: What stands there.

    Returns:
        The names, in the order of running: each plugin takes the previous one's output.

    Raises:
        ValueError: Two submodules would get the same name, or a layer cannot give what has to
            stand there.
    """
    names = []
    for plugin in plugins:
        name, layer = _build(plugin, place)
        if hasattr(owner, name):
            raise ValueError(
                f'plugins: a block has two parts named {name!r}; give one of them a postfix, as '
                f"in cfg=dict(type={plugin.cfg['type']!r}, postfix='1')"
            )
        owner.add_module(name, layer)
        names.append(name)
    return names


def _build(plugin: Plugin, place: Place) -> tuple[str, nn.Module]:
    position = plugin.position
    options = _with_channels(plugin.cfg, place, position)
    try:
        name, layer = build_plugin_layer(options, postfix=options.pop('postfix', ''))
    except Exception as error:
        raise ValueError(
            f'plugins: cfg={shown(plugin.cfg)} cannot be built at {position}: {first_line(error)}'
        ) from error
    _check_fits(layer, place, position)
    if plugin.identity:
        layer = IdentityStart(layer, place.out_channels, parallel=position == PARALLEL)
    return name, layer


def _check_fits(layer: nn.Module, place: Place, position: str) -> None:
    """Raises unless a layer gives what has to stand there; keeps it from writing into its input."""
    kind = type(layer).__name__
    try:
        probe = probe_layer(layer, place.in_shape)
    except ValueError as error:
        raise ValueError(f'plugins: {kind} at {position} does not fit: {error}') from error
    if probe.out_shape is not None and not place.is_filled_by(probe.out_shape):
        raise ValueError(
            f'plugins: {kind} at {position} makes {as_size(probe.out_shape)} of '
            f'{as_size(place.in_shape)}, but {as_size(place.out_shape)} is needed there (channels, '
            'height, width)'
        )
    if probe.in_place:
        clone_input(layer)


def _with_channels(cfg: ConfigType, place: Place, position: str) -> dict[str, Any]:
    """Completes a layer's config by the channels and the stride of its place."""
    layer = find_layer(cfg['type'], argument='plugins: cfg')
    accepted = accepted_arguments(layer)
    options = dict(cfg, type=layer)
    in_name = next((name for name in ('in_channels', 'channels') if name in accepted), None)
    needed = dict(out_channels=place.out_channels, stride=place.stride)
    if in_name is not None:
        needed[in_name] = place.in_channels
    for name, value in needed.items():
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
        channels: Channels of its output.
        parallel: Whether it is added to what it stands parallel to, and not behind it.

    Shape:
        As the layer's.

    Example:
        >>> import torch
        >>> x = torch.rand(2, 8, 4, 4)
        >>> torch.equal(IdentityStart(nn.Conv2d(8, 8, 1), 8)(x), x)
        True
    """

    def __init__(self, layer: nn.Module, channels: int, parallel: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.gate = nn.Parameter(torch.zeros(channels, 1, 1))
        self.parallel = parallel

    def forward(self, x: Tensor) -> Tensor:
        """Runs the layer."""
        out = self.layer(x)
        if self.parallel:
            return self.gate * out
        # Mixed precision would promote the sum to the gate's.
        return x + (self.gate * (out - x)).to(x.dtype)
