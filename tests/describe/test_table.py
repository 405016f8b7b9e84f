"""The tables of backbones in the README and in the documentation are those that the code gives."""

import pytest

import mmblocks
from mmblocks.describe.pages import ROOT, TABLES
from mmblocks.describe.table import VARIANTS


@pytest.mark.parametrize('table', TABLES, ids=lambda table: table.name)
def test_the_page_has_the_table_of_the_code(table):
    assert table.make() in (ROOT / table.page).read_text(), (
        'run `.venv/bin/python tools/describe_backbones.py --write-docs`'
    )


def test_every_backbone_is_in_the_table():
    assert {variant.cfg['type'] for variant in VARIANTS} == set(mmblocks.list_backbones())
