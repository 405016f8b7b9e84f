"""Where a detector's config holds its backbone, and what stands behind the backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmblocks.engine import UserError

Keys = tuple[str | int, ...]

_STRIDES = ('strides', 'featmap_strides', 'point_strides')


class NeckInput(NamedTuple):
    """The part of a detector that takes the backbone's maps.

    Attributes:
        path: Keys that lead to it from the detector's config.
        part: Its config.
        key: The argument that holds the channels of the maps.
        single: Whether that is one int, the channels of the last map.
        backwards: Whether the last map stands first in it.
    """

    path: Keys
    part: Mapping[str, Any]
    key: str
    single: bool = False
    backwards: bool = False

    def value(self, channels: Sequence[int]) -> int | list[int]:
        """Returns what the argument must be for maps of these channels."""
        if self.single:
            return channels[-1]
        return list(reversed(channels)) if self.backwards else list(channels)

    def __str__(self) -> str:
        """Names it for people."""
        return f'{dotted(self.path)} ({type_name(self.part)})'


class Strides(NamedTuple):
    """Strides that a head reckons with.

    Attributes:
        path: Keys that lead to them from the detector's config.
        values: The strides, one per map.
    """

    path: Keys
    values: tuple[int, ...]

    def fit(self, maps: Sequence[int]) -> bool:
        """Returns whether they are the strides of these maps, or of the first ones."""
        return self.values == tuple(maps[: len(self.values)])


def find_detector(model: Mapping[str, Any], at: str | None = None) -> Keys:
    """Finds the part of ``model`` that has the backbone.

    Args:
        model: The config's ``model``.
        at: Which part it is, such as ``'model.detector'``; None where there is only one.

    Returns:
        The keys that lead to it: none, except where one model wraps another, as a
        semi-supervised one or a tracker does.

    Raises:
        UserError: There is no backbone, none at that place, or there are several; or the part is
            no detector.
    """
    paths = [
        path
        for path, part in _walk(model, ())
        if _is_part(part.get('backbone')) and all(isinstance(key, str) for key in path)
    ]
    names = {dotted(('model', *path)): path for path in paths}
    if at is not None:
        if at not in names:
            raise UserError(
                f'--at {at}: there is no backbone; accepted is {", ".join(names) or "nothing"}'
            )
        path = names[at]
    elif () in paths:
        path = ()
    elif len(paths) == 1:
        (path,) = paths
    else:
        found = ', '.join(f'{name}.backbone' for name in names) or 'none'
        which = f'; say which with --at {next(iter(names))}' if names else ''
        raise UserError(
            'the base must have one backbone, as model.backbone or further inside; found: '
            f'{found}{which}'
        )
    part: Any = model
    for key in path:
        part = part[key]
    if type_name(part).endswith('ReID'):
        raise UserError(
            f'{dotted(("model", *path))} of the base is a {type_name(part)}: it tells objects '
            'apart and detects none, and the swap is for detectors'
        )
    return path


def necks(detector: Mapping[str, Any]) -> list[tuple[Keys, Mapping[str, Any]]]:
    """Returns the necks of a detector, in running order, and where each stands."""
    neck = detector.get('neck')
    if isinstance(neck, (list, tuple)):
        return [(('neck', i), part) for i, part in enumerate(neck)]
    return [(('neck',), neck)] if neck else []


def find_inlet(detector: Mapping[str, Any], channels: Sequence[int]) -> NeckInput:
    """Finds what takes the backbone's maps: the first neck, or without a neck the head.

    Args:
        detector: The detector's config.
        channels: Channels of the maps that the backbone gives.

    Returns:
        The part whose channels of inputs are these.

    Raises:
        UserError: There is none.
    """
    chain = necks(detector)
    parts = chain[:1] or [
        ((key,), part) for key, part in detector.items() if key != 'backbone' and _is_part(part)
    ]
    for path, part in parts:
        for inlet in _inlets(path, part, is_neck=bool(chain)):
            given = part[inlet.key]
            if inlet.value(channels) == (given if inlet.single else list(given)):
                return inlet
    if not chain:
        raise UserError(
            'the base has no neck: its heads are made for the maps of its own backbone '
            f'({_listed(channels)} channels), and cannot be fitted to another; take a detector '
            'with a neck such as FPN'
        )
    (path, part), *_ = chain
    inputs = {key: value for key, value in part.items() if key.startswith('in_channel')}
    raise UserError(
        f'the {dotted(path)} of the base ({type_name(part)}) cannot be fitted: the backbone gives '
        f'{_listed(channels)} channels, but the neck has {inputs or "no in_channels"}'
    )


def _inlets(path: Keys, part: Mapping[str, Any], is_neck: bool) -> Iterator[NeckInput]:
    """Returns the ways in which a part may take the backbone's maps."""
    for key in ('in_channels', 'in_channel'):
        value = part.get(key)
        if isinstance(value, (list, tuple)):
            yield NeckInput(path, part, key)
            yield NeckInput(path, part, key, backwards=True)
        # In a head, one number may just as well be what a neck or another head gives it.
        elif isinstance(value, int) and is_neck:
            yield NeckInput(path, part, key, single=True)


def passed_on(inlet: NeckInput, channels: Sequence[int]) -> list[int] | None:
    """Returns what a neck gives for maps of other channels, where it passes its inputs on.

    SSD's neck gives the backbone's maps as they are and further ones behind them.

    Args:
        inlet: The neck.
        channels: The channels of the new maps.

    Returns:
        Its new ``out_channels``; None if it makes all maps itself.
    """
    given, out = inlet.part[inlet.key], inlet.part.get('out_channels')
    if not isinstance(given, (list, tuple)) or not isinstance(out, (list, tuple)):
        return None
    if list(out[: len(given)]) != list(given):
        return None
    return [*channels, *out[len(given) :]]


def takers(detector: Mapping[str, Any], channels: Sequence[int]) -> list[str]:
    """Names the heads of a detector whose ``in_channels`` are these, one by one."""
    return [
        key
        for key, part in detector.items()
        if key not in ('backbone', 'neck')
        and _is_part(part)
        and isinstance(part.get('in_channels'), (list, tuple))
        and list(part['in_channels']) == list(channels)
    ]


def head_strides(detector: Mapping[str, Any]) -> list[Strides]:
    """Returns the strides that anchor generators, point generators and RoI extractors name."""
    found = []
    heads = {key: part for key, part in detector.items() if key not in ('backbone', 'neck')}
    for path, part in _walk(heads, ()):
        for key in _STRIDES:
            values = part.get(key)
            if isinstance(values, (list, tuple)):
                # A generator may have one stride per axis.
                values = tuple(v[0] if isinstance(v, (list, tuple)) else v for v in values)
                found.append(Strides((*path, key), values))
    return found


def dotted(path: Sequence[str | int]) -> str:
    """Writes keys as MMEngine does: ``a.0.b``."""
    return '.'.join(map(str, path))


def type_name(part: Mapping[str, Any]) -> str:
    """Returns the class that a config names."""
    kind = part.get('type')
    return kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and 'type' in value


def _walk(value: Any, path: Keys) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Goes through a config and all dicts in it."""
    if isinstance(value, Mapping):
        yield path, value
    elif not isinstance(value, (list, tuple)):
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, inner in items:
        yield from _walk(inner, (*path, key))


def _listed(values: Sequence[int]) -> str:
    return ', '.join(map(str, values))
