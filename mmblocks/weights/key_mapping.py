"""Foreign state-dict keys, renamed to ours while they load, and ours to theirs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn


class KeyMapping(NamedTuple):
    """How another library names the tensors of a module: a table that reads both ways.

    All names are those of modules, such as ``layer1.0.bn1``. Of those in the table that a key
    begins with, the longest one is replaced; keys that begin with none stay as they are.

    Attributes:
        name: The library, as shown to people.
        marker: Regular expression for the start of a key that only this library has.
        pairs: Our name and theirs of each module. Where they have several names for one of ours,
            the first one is written.
        dropped: What they have and we have no place for, such as classifiers.
        refused: Why a net with weights of this library would have other outputs, if so.
        kernels: By their keys, the shapes without output channels of kernels there that are
            weights of linear layers here.
        also: Regular expression for the start of a second key that there must be, where the
            marker alone is not enough.
    """

    name: str
    marker: str
    pairs: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    refused: str | None = None
    kernels: Mapping[str, tuple[int, ...]] = {}
    also: str = ''


class CannotBeWritten(ValueError):
    """A library has no names for some of our keys."""


def drop_parts(library: str, *parts: str) -> KeyMapping:
    """Returns the mapping of a library that has our names, and parts that we have no place for.

    Args:
        library: The library.
        *parts: The modules; their keys show that weights are the library's.

    Example:
        >>> rename_keys(['fc.weight', 'conv1.weight'], [drop_parts('torchvision', 'fc')])
        {'fc.weight': None}
    """
    marker = '|'.join(rf'{re.escape(part)}\.' for part in parts)
    return KeyMapping(library, marker, dropped=parts)


def rename_keys(keys: Sequence[str], mappings: Sequence[KeyMapping]) -> dict[str, str | None]:
    """Maps foreign keys to ours.

    Args:
        keys: Keys of a state dict.
        mappings: Known mappings; the first one whose marker matches a key is taken.

    Returns:
        For each key that changes its new name, or None if it is to be dropped. Empty for keys of
        no known library.

    Raises:
        ValueError: The mapping is a refused one, or two keys would get one name.

    Example:
        >>> torchvision = KeyMapping('torchvision', 'inner_', (('lateral.0', 'inner_0'),))
        >>> rename_keys(['inner_0.weight', 'bias'], [torchvision])
        {'inner_0.weight': 'lateral.0.weight'}
    """
    mapping = choose_key_mapping(keys, mappings)
    if mapping is None:
        return {}
    if mapping.refused:
        raise ValueError(f'these are weights of {mapping.name}: {mapping.refused}')
    ours = {theirs: name for name, theirs in mapping.pairs}
    renamed = _rename(keys, ours | dict.fromkeys(mapping.dropped))
    counts = Counter(name for key in keys if (name := renamed.get(key, key)) is not None)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(f'{mapping.name} keys: several become {twice[:3]}')
    return renamed


def write_keys(
    keys: Sequence[str], mapping: KeyMapping, mappings: Sequence[KeyMapping]
) -> dict[str, str | None]:
    """Maps our keys to those of another library.

    Args:
        keys: Our keys.
        mapping: The library's mapping.
        mappings: All that are known to the net, in order.

    Returns:
        For each of our keys the one there, or None where the library has no place for it.

    Raises:
        CannotBeWritten: Loaded again, the keys there would not become ours.

    Example:
        >>> torchvision = KeyMapping('torchvision', 'inner_', (('lateral.0', 'inner_0'),))
        >>> write_keys(['lateral.0.weight', 'bias'], torchvision, [torchvision])
        {'lateral.0.weight': 'inner_0.weight', 'bias': 'bias'}
    """
    renamed = _rename(keys, dict(reversed(mapping.pairs)))
    there = {key: renamed.get(key) or key for key in keys}
    dropped = _rename(there.values(), dict.fromkeys(mapping.dropped))
    written = {key: name for key, name in there.items() if name not in dropped}
    try:
        back = rename_keys(list(written.values()), mappings)
    except ValueError as error:  # a refused mapping, or names that meet
        raise CannotBeWritten(f'{mapping.name}: {error}') from error
    for key, name in written.items():
        if back.get(name, name) != key:
            raise CannotBeWritten(f'{mapping.name} has no name for {key}')
    return {key: written.get(key) for key in keys}


def _rename(keys: Iterable[str], table: Mapping[str, str | None]) -> dict[str, str | None]:
    """Replaces the longest module path in the table that each key begins with."""
    depth = max((path.count('.') + 1 for path in table), default=0)
    renamed: dict[str, str | None] = {}
    for key in keys:
        parts = key.split('.', depth)[:depth]  # a hostile key can have any number of dots
        for end in range(len(parts), -1, -1):
            path = '.'.join(parts[:end])
            if path in table:
                new, rest = table[path], key[len(path) :].removeprefix('.')
                renamed[key] = None if new is None else '.'.join(filter(None, (new, rest)))
                break
    return renamed


def choose_key_mapping(keys: Sequence[str], mappings: Sequence[KeyMapping]) -> KeyMapping | None:
    """Returns the first mapping whose marker matches one of the keys, or None.

    Args:
        keys: Keys of a state dict.
        mappings: Known mappings.
    """
    # One pass over the keys, of which a foreign file can have any number.
    markers = re.compile('|'.join(f'(?:{mapping.marker})' for mapping in mappings))
    marked = list(filter(markers.match, keys))
    for mapping in mappings:
        has_marker = any(map(re.compile(mapping.marker).match, marked))
        if has_marker and any(map(re.compile(mapping.also).match, keys)):
            return mapping
    return None


def rename_state_dict(
    state_dict: dict[str, Any], mappings: Sequence[KeyMapping], prefix: str = ''
) -> dict[str, str | None]:
    """Renames the foreign keys of a state dict to ours.

    Args:
        state_dict: Changed in place.
        mappings: Known mappings.
        prefix: What stands in front of the keys; those that begin otherwise are left alone.

    Returns:
        The keys that were renamed, without the prefix, as :func:`rename_keys` returns them.
    """
    own = [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]
    renamed = rename_keys(own, mappings)
    kernels = {key for mapping in mappings for key in mapping.kernels}
    # All out before any goes in, since one library's name can be another tensor's in ours.
    values = {key: state_dict.pop(prefix + key) for key in renamed}
    for key, new in renamed.items():
        if new is not None:
            value = values[key]
            is_kernel = key in kernels and isinstance(value, Tensor) and value.dim() > 1
            state_dict[prefix + new] = value.flatten(1) if is_kernel else value
    return renamed


def register_key_mappings(module: nn.Module, mappings: Sequence[KeyMapping]) -> None:
    """Makes a module load state dicts of other libraries, alone or as part of a larger model.

    Args:
        module: The module; its ``load_state_dict`` and that of any model around it, torch's or
            MMEngine's, rename from now on.
        mappings: The mappings to know.
    """
    module.key_mappings = tuple(mappings)  # type: ignore[assignment]  # neither tensor nor module
    module.register_load_state_dict_pre_hook(_Renamer(tuple(mappings)))


class _Renamer(NamedTuple):
    """The pre-hook of ``load_state_dict``; no closure, so that modules can be pickled."""

    mappings: tuple[KeyMapping, ...]

    def __call__(self, module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        rename_state_dict(state_dict, self.mappings, prefix)
