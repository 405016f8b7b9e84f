"""The tables of backbones in the README."""

from __future__ import annotations

from pathlib import Path

from mmblocks.describe.table import backbones_table, weights_table
from mmblocks.utils.errors import UserError

README = Path(__file__).parents[2] / 'README.md'
TABLES = dict(backbones=backbones_table, weights=weights_table)


def write_tables(path: Path = README) -> None:
    """Writes each table between the comments of its name.

    Args:
        path: The README.

    Raises:
        UserError: There is no README, or a table's comments are not in it.
    """
    if not path.exists():
        raise UserError(f'{path} does not exist; the README is in a checkout of the repository')
    text = path.read_text(encoding='utf-8')
    for name, make in TABLES.items():
        start, end = f'<!-- {name} -->\n', f'<!-- /{name} -->'
        if text.count(start) != 1 or text.count(end) != 1:
            raise UserError(f'{path} must have one "{start.strip()} ... {end}"')
        before, rest = text.split(start)
        _, after = rest.split(end)
        text = f'{before}{start}{make()}\n{end}{after}'
    path.write_text(text, encoding='utf-8')
