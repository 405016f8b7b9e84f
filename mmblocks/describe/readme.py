"""The tables of backbones in the README."""

from __future__ import annotations

import re
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
        table = f'{start}{make()}\n{end}'
        new = table.replace('\\', r'\\')  # as a replacement writes a backslash
        text, places = re.subn(f'{start}.*?{end}', new, text, flags=re.DOTALL)
        if places != 1:
            raise UserError(f'{path} must have one "{start.strip()} ... {end}"')
    path.write_text(text, encoding='utf-8')
