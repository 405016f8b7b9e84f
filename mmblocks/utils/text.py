"""Values as text, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from terminaltables import GithubFlavoredMarkdownTable

_JUSTIFY = {'l': 'left', 'c': 'center', 'r': 'right'}


def joined(values: Iterable[Any]) -> str:
    """Returns values with commas between them.

    Example:
        >>> joined((8, 16, 32))
        '8, 16, 32'
    """
    return ', '.join(map(str, values))


def markdown_table(rows: Sequence[Sequence[str]], align: str) -> str:
    """Returns a table in Markdown.

    Args:
        rows: The rows of cells, the header first.
        align: A letter per column: ``'l'``, ``'c'`` or ``'r'``.

    Example:
        >>> print(markdown_table([('net', 'mAP'), ('GhostNet', '0.5')], 'lr'))
        | net      | mAP |
        |:---------|----:|
        | GhostNet | 0.5 |
    """
    table = GithubFlavoredMarkdownTable(rows)
    table.justify_columns = {i: _JUSTIFY[letter] for i, letter in enumerate(align)}
    return str(table.table)
