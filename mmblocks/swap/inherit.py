"""Configs that inherit from another one: how they name it, and what MMEngine makes of them."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmblocks.engine import find_config
from mmblocks.swap.detector import Keys
from mmblocks.utils.errors import UserError, first_line


def check_name(base: str) -> None:
    """Raises for a name that MMEngine cannot inherit from.

    Args:
        base: Path of a config, or ``'mmdet::...'``.

    Raises:
        UserError: MMEngine's pattern for ``_base_`` does not match it.
    """
    if '::' in base and not re.match(r'\w*::\w*/', base):
        raise UserError(
            f'MMEngine cannot inherit from {base}: behind :: it wants a folder whose name is of '
            f'letters, digits and underscores; give the path of the file: {find_config(base)}'
        )


def base_path(base: str, folder: Path | None = None) -> str:
    """Returns what to write as ``_base_``: from a folder or, without one, from anywhere."""
    if '::' in base:
        return base
    path = find_config(base).resolve()
    if folder is None:
        return str(path)
    relative = Path(os.path.relpath(path, folder.resolve())).as_posix()
    return relative if relative.startswith('.') else f'./{relative}'


def read_again(text: str, base: str) -> dict[str, Any]:
    """Returns what MMEngine reads from the text of a config, without scopes.

    Args:
        text: The text; its ``_base_`` can be found from anywhere.
        base: What it inherits from, for the error.

    Raises:
        UserError: MMEngine cannot read it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'swapped.py')
        path.write_text(text, encoding='utf-8')
        try:
            return dict(without_scopes(Config.fromfile(path).to_dict()))
        except Exception as error:
            raise UserError(f'no config can inherit from {base}: {first_line(error)}') from error


def without_scopes(value: Any) -> Any:
    """Returns a config without the scopes that MMEngine adds to a base of another package."""
    if isinstance(value, dict):
        return {k: without_scopes(inner) for k, inner in value.items() if k != '_scope_'}
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_scopes, value))
    return value


def nested_dict(values: Mapping[Keys, Any]) -> dict[str, Any]:
    """Returns nested dicts with values at the keys that lead to them.

    Example:
        >>> nested_dict({('neck', 'in_channels'): [8], ('neck', 'num_outs'): 5})
        {'neck': {'in_channels': [8], 'num_outs': 5}}
    """
    tree: dict[str, Any] = {}
    for (*first, last), value in values.items():
        inner: dict[Any, Any] = tree
        for key in first:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return tree


def value_at(tree: Any, path: Keys) -> Any:
    """Returns the value that keys lead to."""
    for key in path:
        tree = tree[key]
    return tree
