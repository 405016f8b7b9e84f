"""Rename rules turned round: from our names to those of another library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from mmblocks.weights.key_mapping import KeyMapping, Rule, choose_key_mapping, rename_keys

_GROUP = re.compile(r'\((?!\?)((?:\\.|[^()\\])*)\)')
_CHOICE = re.compile(r'\(\?:((?:\\.|[^()\\])*)\)(\??)')
# What stands for more than one text.
_OPEN = re.compile(r'\\\w|(?<!\\)[][(){}.^$*+?|]')
_REFERENCE = re.compile(r'\\(\d)')


class CannotBeWritten(ValueError):
    """Names of ours that a mapping has no names for."""


def invert_keys(
    keys: Sequence[str], mapping: KeyMapping, mappings: Sequence[KeyMapping]
) -> dict[str, str | None]:
    r"""Returns the names in another mapping, proved by mapping them back.

    Args:
        keys: Names of ours.
        mapping: The mapping to write.
        mappings: All that are known to the net, in order.

    Returns:
        For each of our names the one there, or None for what that mapping leaves out: a tensor
        that one of its rules drops.

    Raises:
        CannotBeWritten: There is no set of names there that loading would turn into ours.

    Example:
        >>> theirs = KeyMapping('theirs', r'a\d', [(r'a(\d)\.(?:conv|c)\.', r'layer\1.conv.')])
        >>> invert_keys(['layer0.conv.weight', 'scale'], theirs, [theirs])
        {'layer0.conv.weight': 'a0.conv.weight', 'scale': 'scale'}
    """
    inverses = [_Inverse(*rule) for rule in _rules_to_write(mapping) if rule[1] is not None]
    rules = [(re.compile(pattern), new) for pattern, new in _rules_to_write(mapping)]
    there: dict[str, str | None] = {}
    for key in keys:
        found = [(match, inverse) for inverse in inverses if (match := inverse.ours.match(key))]
        # A rule that says more of a name is the one for it; of equals, the first one.
        found.sort(key=lambda pair: -pair[0].end())
        candidates = (name for match, inverse in found for name in inverse.names(match))
        fitting = (name for name in (*candidates, key) if _rename(name, rules) == key)
        there[key] = next(fitting, None)
        if there[key] is None and _rename(key, rules) is not None:
            raise CannotBeWritten(f'{mapping.name} has no name for {key}')
    _check_that_they_map_back(there, mapping, mappings)
    return there


def _rules_to_write(mapping: KeyMapping) -> Sequence[Rule]:
    if mapping.refused:
        raise CannotBeWritten(f'{mapping.name}: {mapping.refused}')
    if mapping.written is not None:
        return mapping.written
    if callable(mapping.rules):
        raise CannotBeWritten(f'{mapping.name} names depend on each other')
    return mapping.rules


def _check_that_they_map_back(
    there: dict[str, str | None], mapping: KeyMapping, mappings: Sequence[KeyMapping]
) -> None:
    names = [name for name in there.values() if name is not None]
    ours = [key for key, name in there.items() if name is not None]
    try:
        renamed = rename_keys(names, mappings)
    except ValueError as error:
        raise CannotBeWritten(str(error)) from error
    if [renamed.get(name, name) for name in names] != ours:
        raise CannotBeWritten(f'{mapping.name} names would not load as what they are')
    # Names that nothing renames are ours as they are, whether or not a marker is among them.
    if names != ours and choose_key_mapping(names, mappings) is not mapping:
        raise CannotBeWritten(f'{mapping.name} names would be taken for those of another mapping')


def _rename(name: str, rules: Iterable[tuple[re.Pattern, str | None]]) -> str | None:
    for pattern, replacement in rules:
        if match := pattern.match(name):
            return None if replacement is None else match.expand(replacement) + name[match.end() :]
    return name


class _Inverse:
    """A rule turned round.

    Attributes:
        ours: Regular expression for the start of the names that the rule makes.
    """

    def __init__(self, pattern: str, replacement: str) -> None:
        self.pattern = pattern
        self.groups = [group[1] for group in _GROUP.finditer(pattern)]
        self.ours = re.compile(self._ours(replacement))

    def _ours(self, replacement: str) -> str:
        """Returns the regular expression for the start of our names."""
        seen: set[str] = set()
        parts = []
        for i, part in enumerate(_REFERENCE.split(replacement)):
            if i % 2 == 0:
                parts.append(re.escape(part))
            elif part in seen:
                parts.append(f'(?P=group{part})')
            else:
                parts.append(f'(?P<group{part}>{self.groups[int(part) - 1]})')
                seen.add(part)
        return ''.join(parts)

    def names(self, match: re.Match) -> Iterator[str]:
        """Returns the names that the rule may have made a name of ours from, the usual one first.

        Args:
            match: Of ``ours`` with our name.
        """
        values = {name.removeprefix('group'): text for name, text in match.groupdict().items()}
        number = iter(range(1, len(self.groups) + 1))

        def filled(group: re.Match) -> str:
            value = values.get(str(next(number)))
            return f'(?:{group[1]})' if value is None else re.escape(value)

        for start in _spelt_out(_GROUP.sub(filled, self.pattern)):
            yield start + match.string[match.end() :]


def _spelt_out(pattern: str) -> Iterator[str]:
    """Returns the texts that a pattern without groups stands for, as far as they can be told."""
    choice = _CHOICE.search(pattern)
    if choice is None:
        if not _OPEN.search(pattern):
            yield re.sub(r'\\(.)', r'\1', pattern)
        return
    for text in (*choice[1].split('|'), *([''] if choice[2] else ())):
        yield from _spelt_out(pattern[: choice.start()] + text + pattern[choice.end() :])
