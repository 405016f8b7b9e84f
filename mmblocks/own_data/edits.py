"""Changes of a config, as they stand in a file that inherits from it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmblocks.swap.detector import Keys
from mmblocks.swap.text import Code, inline
from mmblocks.utils.types import ConfigType


class Edits:
    """A config and what was changed in it.

    Args:
        cfg: The config as MMEngine reads the base; it is not changed.
        overrides: What the file sets already, by the names of the variables.
        comments: The comments in it, by the keys that lead to what they stand above.

    Attributes:
        base: The config before.
        cfg: The config with all changes.
        comments: The comments, with those of the changes.

    Example:
        >>> edits = Edits(dict(model=dict(bbox_head=dict(num_classes=80))))
        >>> edits.set(('model', 'bbox_head', 'num_classes'), 3)
        >>> edits.overrides()
        {'model': {'bbox_head': {'num_classes': 3}}}
    """

    def __init__(
        self,
        cfg: ConfigType,
        overrides: Mapping[str, Any] = {},
        comments: Mapping[Keys, str] = {},
    ) -> None:
        self.cfg: dict[str, Any] = copy.deepcopy(dict(cfg))
        self.comments: dict[Keys, str] = dict(comments)
        self._given = dict(overrides)
        self.base = copy.deepcopy(self.cfg)
        self._values: dict[Keys, Any] = {}

    def set(self, path: Keys, value: Any, written: Any = None, comment: str = '') -> None:
        """Sets a value; one that is there already changes nothing.

        Args:
            path: The keys that lead to it. Dicts on the way that are not there are made.
            value: The value. A dict takes the place of the one that is there.
            written: What stands for it in the file, such as the name of a variable; None for the
                value itself.
            comment: A comment to stand above it.
        """
        parent: Any = self.cfg
        for key in path[:-1]:
            parent = parent.setdefault(key, {}) if isinstance(key, str) else parent[key]
        key = path[-1]
        there = isinstance(parent, list) or key in parent
        if there and type(parent[key]) is type(value) and parent[key] == value:
            return
        before = parent[key] if there else None
        parent[key] = copy.deepcopy(value)
        text = value if written is None else written
        replaced = isinstance(text, dict) and there and not _covers(text, before)
        self._values[path] = dict(_delete_=True, **text) if replaced else text
        if comment:
            self.comments[path] = comment

    def overrides(self) -> dict[str, Any]:
        """Returns what the file has to set, by the names of its variables."""
        tree = copy.deepcopy(self._given)
        in_lists: dict[Keys, dict[Keys, Any]] = {}
        for path, value in self._values.items():
            index = next((i for i, key in enumerate(path) if isinstance(key, int)), None)
            if index is None:
                _insert(tree, path, value)
            else:
                in_lists.setdefault(path[:index], {})[path[index:]] = value
        for path, values in in_lists.items():
            _insert(tree, path, self._list(path, values))
        return tree

    def _list(self, path: Keys, values: Mapping[Keys, Any]) -> Any:
        """Returns what to write for a list in which something changed.

        MMEngine replaces lists. Where the same changed in all elements they can be taken from the
        base, else they are written out.
        """
        whole, before = self.cfg, self.base
        for key in path:
            whole, before = whole[key], before[key]  # type: ignore[index]
        each = [{k[1]: v for k, v in values.items() if k[0] == i} for i in range(len(whole))]
        alike = all(len(keys) == 2 for keys in values) and all(e == each[0] for e in each)
        alike = alike and path not in self._values
        if not alike or len(before) != len(whole) or not all(isinstance(k, str) for k in path):
            return whole
        changed = inline({str(key): value for key, value in each[0].items()})
        inside = changed.removeprefix('dict(').removesuffix(')')
        base = '.'.join(('_base_', *map(str, path)))
        return Code(f'[dict(part, {inside}) for part in {base}]')


def _covers(new: Mapping[str, Any], old: Any) -> bool:
    """Returns whether MMEngine's merging of dicts makes the new one of the old one."""
    plain = isinstance(old, Mapping) and not any(isinstance(v, Mapping) for v in new.values())
    return plain and old.keys() <= new.keys()


def _insert(tree: dict[Any, Any], path: Sequence[str | int], value: Any) -> None:
    *first, last = path
    for key in first:
        tree = tree.setdefault(key, {})
    tree[last] = copy.deepcopy(value)
