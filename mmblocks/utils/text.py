"""Values as text, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from terminaltables import GithubFlavoredMarkdownTable

_LABEL = 12  # columns that a label takes at least
_JUSTIFY = {'l': 'left', 'c': 'center', 'r': 'right'}


def joined(values: Iterable[Any]) -> str:
    """Returns values with commas between them.

    Example:
        >>> joined((8, 16, 32))
        '8, 16, 32'
    """
    return ', '.join(map(str, values))


def labelled(parts: Mapping[str, Sequence[str]]) -> str:
    """Returns lines below each other, the first of each part behind the part's name.

    Args:
        parts: The lines of each part; one without lines is left out.

    Example:
        >>> print(labelled(dict(base=['RetinaNet'], backbone=['ResNet', '-> GhostNet'])))
        base        RetinaNet
        backbone    ResNet
                    -> GhostNet
    """
    width = max([_LABEL, *(len(part) + 2 for part, lines in parts.items() if lines)])
    return '\n'.join(
        f'{"" if i else part:<{width}}{line}'
        for part, lines in parts.items()
        for i, line in enumerate(lines)
    )


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
