"""Foreign state-dict keys, renamed to ours while they load."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

Rule = tuple[str, str | None]


class KeyMapping(NamedTuple):
    """How another library names the tensors of a module.

    Attributes:
        name: The library, as shown to people.
        marker: Regular expression of a key that only this mapping has.
        rules: Pairs of a regular expression for the start of a key and its replacement; None
            drops the key. The first one that matches counts; keys that none matches stay. Or
            a function from the keys to such pairs, where the names depend on each other.
        refused: Why weights of this mapping cannot give the same outputs here, if so.
        written: Rules that hold in a file written in this mapping, where ``rules`` is a function.
        shapes: Sizes of the tensors that have others there, by their names there; -1 for a
            dimension that follows from the others.
    """

    name: str
    marker: str
    rules: Sequence[Rule] | Callable[[Iterable[str]], Sequence[Rule]] = ()
    refused: str | None = None
    written: Sequence[Rule] | None = None
    shapes: Mapping[str, tuple[int, ...]] = {}


def rename_keys(keys: Sequence[str], mappings: Sequence[KeyMapping]) -> dict[str, str | None]:
    r"""Maps foreign keys to ours.

    Args:
        keys: Keys of a state dict.
        mappings: Known mappings; the first one whose marker matches a key is taken.

    Returns:
        For each key that changes its new name, or None if it is to be dropped. Empty for keys of
        no known mapping.

    Raises:
        ValueError: The mapping is a refused one, or two keys would get one name.

    Example:
        >>> torchvision = KeyMapping('torchvision', r'inner_', [(r'inner_(\d)', r'lateral.\1')])
        >>> rename_keys(['inner_0.weight', 'bias'], [torchvision])
        {'inner_0.weight': 'lateral.0.weight'}
    """
    mapping = choose_key_mapping(keys, mappings)
    if mapping is None:
        return {}
    if mapping.refused:
        raise ValueError(f'these are weights of {mapping.name}: {mapping.refused}')
    rules = mapping.rules(keys) if callable(mapping.rules) else mapping.rules
    # Of some nets there are more rules than Python keeps compiled by itself.
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed: dict[str, str | None] = {}
    for key in keys:
        for pattern, replacement in compiled:
            if match := pattern.match(key):
                renamed[key] = (
                    None if replacement is None else match.expand(replacement) + key[match.end() :]
                )
                break
    new = [renamed.get(key, key) for key in keys if renamed.get(key, key) is not None]
    if twice := {name for name, count in Counter(new).items() if count > 1}:
        raise ValueError(f'{mapping.name} keys: several give {sorted(twice)[:3]}')
    return renamed


def choose_key_mapping(keys: Iterable[str], mappings: Iterable[KeyMapping]) -> KeyMapping | None:
    """Returns the first mapping whose marker matches one of the keys, or None.

    Args:
        keys: Keys of a state dict.
        mappings: Known mappings.
    """
    keys = list(keys)
    return next(
        (entry for entry in mappings if any(map(re.compile(entry.marker).match, keys))), None
    )


def register_key_mappings(module: nn.Module, mappings: Sequence[KeyMapping]) -> None:
    """Makes a module load state dicts of other mappings, alone or as part of a larger model.

    Args:
        module: The module; its ``load_state_dict`` and that of any model around it, torch's or
            MMEngine's, rename from now on.
        mappings: The mappings to know.
    """
    module.key_mappings = tuple(mappings)
    module.register_load_state_dict_pre_hook(_Renamer(tuple(mappings)))


class _Renamer(NamedTuple):
    """The hook; an object and no closure, so that modules can be pickled."""

    mappings: tuple[KeyMapping, ...]

    def __call__(self, module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        own = [key[len(prefix) :] for key in state_dict if key.startswith(prefix)]
        renamed = rename_keys(own, self.mappings)
        # All out before any goes in, since one mapping's name can be another tensor's in ours.
        values = {key: state_dict.pop(prefix + key) for key in renamed}
        for key, new in renamed.items():
            if new is not None:
                state_dict[prefix + new] = values[key]
