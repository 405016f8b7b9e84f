"""Where a detector's config has its backbone, and the parts that the backbone feeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmblocks.utils.errors import UserError
from mmblocks.utils.text import joined

Keys = tuple[str | int, ...]

_STRIDES = ('strides', 'featmap_strides', 'point_strides')


class NeckInput(NamedTuple):
    """The part of a detector that the backbone feeds, and its argument for the channels.

    Attributes:
        path: Keys that lead to it from the detector's config.
        part: Its config.
        key: The argument for the channels of the backbone's outputs.
        single: Whether that is one int, for the last output.
        backwards: Whether it begins with the last output.
    """

    path: Keys
    part: Mapping[str, Any]
    key: str
    single: bool = False
    backwards: bool = False

    def value(self, channels: Sequence[int]) -> int | list[int]:
        """Returns the value of the argument for outputs of these channels."""
        if self.single:
            return channels[-1]
        return list(reversed(channels)) if self.backwards else list(channels)

    def __str__(self) -> str:
        """Returns its name in messages."""
        return f'{dotted(self.path)} ({type_name(self.part)})'


class Strides(NamedTuple):
    """Strides in the config of a head.

    Attributes:
        path: Keys that lead to them from the detector's config.
        values: The strides, one per map.
    """

    path: Keys
    values: tuple[int, ...]

    def fit(self, maps: Sequence[int]) -> bool:
        """Returns whether maps of these strides, or the first of them, have the head's strides."""
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


def find_neck_input(detector: Mapping[str, Any], channels: Sequence[int]) -> NeckInput:
    """Finds the part that the backbone feeds: the first neck, or without a neck the head.

    Args:
        detector: The detector's config.
        channels: Channels of the backbone's outputs.

    Returns:
        The part whose input channels are these.

    Raises:
        UserError: There is none.
    """
    chain = necks(detector)
    parts = chain[:1] or [
        ((key,), part) for key, part in detector.items() if key != 'backbone' and _is_part(part)
    ]
    for path, part in parts:
        for neck_input in _possible_inputs(path, part, is_neck=bool(chain)):
            given = part[neck_input.key]
            if neck_input.value(channels) == (given if neck_input.single else list(given)):
                return neck_input
    if not chain:
        raise UserError(
            'the base has no neck: its heads are made for the maps of its own backbone '
            f'({joined(channels)} channels), and cannot be fitted to another; take a detector '
            'with a neck such as FPN'
        )
    (path, part), *_ = chain
    inputs = {key: value for key, value in part.items() if key.startswith('in_channel')}
    raise UserError(
        f'the {dotted(path)} of the base ({type_name(part)}) cannot be fitted: the backbone gives '
        f'{joined(channels)} channels, but the neck has {inputs or "no in_channels"}'
    )


def _possible_inputs(path: Keys, part: Mapping[str, Any], is_neck: bool) -> Iterator[NeckInput]:
    """Returns how a part may name the channels of its inputs."""
    for key in ('in_channels', 'in_channel'):
        value = part.get(key)
        if isinstance(value, (list, tuple)):
            yield NeckInput(path, part, key)
            yield NeckInput(path, part, key, backwards=True)
        # In a head, one number may just as well be for the outputs of a neck or another head.
        elif isinstance(value, int) and is_neck:
            yield NeckInput(path, part, key, single=True)


def pass_through_channels(neck_input: NeckInput, channels: Sequence[int]) -> list[int] | None:
    """Returns the output channels of a neck that passes its inputs on, for other inputs.

    SSD's neck returns the backbone's outputs as they are and further ones after them.

    Args:
        neck_input: The neck.
        channels: Channels of the new inputs.

    Returns:
        Its new ``out_channels``; None if it makes all outputs itself.
    """
    given, out = neck_input.part[neck_input.key], neck_input.part.get('out_channels')
    if not isinstance(given, (list, tuple)) or not isinstance(out, (list, tuple)):
        return None
    if list(out[: len(given)]) != list(given):
        return None
    return [*channels, *out[len(given) :]]


def heads_with_channels(detector: Mapping[str, Any], channels: Sequence[int]) -> list[str]:
    """Returns the names of the heads of a detector whose ``in_channels`` are these."""
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
    """Returns keys as MMEngine writes them: ``a.0.b``."""
    return '.'.join(map(str, path))


def type_name(part: Mapping[str, Any]) -> str:
    """Returns the name of the class of a config."""
    kind = part.get('type')
    return kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and 'type' in value


def _walk(value: Any, path: Keys) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Returns the dicts of a config, itself included, and their paths."""
    if isinstance(value, Mapping):
        yield path, value
    elif not isinstance(value, (list, tuple)):
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, inner in items:
        yield from _walk(inner, (*path, key))
