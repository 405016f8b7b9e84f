"""The steps of the pipelines that a config names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def steps(value: Any) -> Iterator[Mapping[str, Any]]:
    """Goes through everything with a ``type`` below a part of a config, wherever it is nested.

    Args:
        value: The part, such as a data loader.

    Yields:
        The dicts with a ``type``: the steps of pipelines among them.

    Example:
        >>> pipeline = [dict(type='RandomApply', transforms=[dict(type='Resize')])]
        >>> [step['type'] for step in steps(dict(pipeline=pipeline))]
        ['RandomApply', 'Resize']
    """
    if isinstance(value, Mapping):
        if 'type' in value:
            yield value
        for inner in value.values():
            yield from steps(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from steps(inner)
