"""Names in some weights that a module has no place for: which of them are of another net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from mmblocks.weights.report import LoadReport

# Deeper than any block's name stands.
_MOST_PARENTS = 6


def out_of_place(
    module: nn.Module, names: Mapping[str, str | None], report: LoadReport
) -> list[str]:
    """Returns the names without a place that belong to parts of a module that are filled.

    What else has no place are classifiers, and stages behind the last output.

    Args:
        module: The module.
        names: The names in its weights, as they are there, without their prefix, and here.
        report: What of them has found its place.
    """
    group_parts = getattr(module, 'group_parts', None)
    if group_parts is None:
        parts = tuple(f'{name}.' for name, _ in module.named_children())
        return [name for name in report.unexpected if name.startswith(parts)]
    # Blocks that the net does not have keep the names of a foreign mapping: they stand beside some
    # that it has.
    matched = set(report.matched)
    filled = {
        parent
        for name, ours in names.items()
        if ours in matched
        for parent in _numbered_parents(name)
    }
    parts = tuple(f'{part}.' for names in group_parts().values() for part in names)
    inserted = getattr(module, 'inserted', {})
    replaced = tuple(f'{name}.' for name, entry in inserted.items() if entry.by == 'replace_convs')
    return [
        name
        for name in report.unexpected
        if not name.startswith(replaced)
        and (name.startswith(parts) or not filled.isdisjoint(_numbered_parents(name)))
    ]


def _numbered_parents(name: str) -> Iterator[str]:
    """Returns what a name stands under, as far as that has a number: stages and blocks."""
    parts = name.split('.', _MOST_PARENTS)[:-1]
    for end in range(1, len(parts) + 1):
        if any(part.isdigit() for part in parts[:end]):
            yield '.'.join(parts[:end])
