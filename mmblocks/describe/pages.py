"""The tables of backbones in the README and in the documentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mmblocks.describe.table import backbones_table, families_table, weights_table
from mmblocks.utils.errors import UserError

ROOT = Path(__file__).parents[2]


class Table(NamedTuple):
    """A table and where it stands, between two comments of its name.

    Attributes:
        name: What the comments say.
        page: The file in a checkout.
        make: Makes the table.
    """

    name: str
    page: str
    make: Callable[[], str]


TABLES = (
    Table('families', 'README.md', families_table),
    Table('backbones', 'docs/nets.md', backbones_table),
    Table('weights', 'docs/weights.md', weights_table),
)


def write_tables(root: Path = ROOT) -> None:
    """Writes each table into its page.

    Args:
        root: The checkout.

    Raises:
        UserError: A page is not there, or a table's comments are not in it.
    """
    for name, page, make in TABLES:
        path = root / page
        if not path.exists():
            raise UserError(f'{path} does not exist; it is in a checkout of the repository')
        text = path.read_text(encoding='utf-8')
        start, end = f'<!-- {name} -->\n', f'<!-- /{name} -->'
        if text.count(start) != 1 or text.count(end) != 1:
            raise UserError(f'{path} must have one "{start.strip()} ... {end}"')
        before, rest = text.split(start)
        _, after = rest.split(end)
        path.write_text(f'{before}{start}{make()}\n{end}{after}', encoding='utf-8')
