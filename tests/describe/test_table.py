"""The tables of backbones in the README are those that the code gives."""

from pathlib import Path

import pytest

import mmblocks
from mmblocks.describe.table import VARIANTS, backbones_table, weights_table

README = Path(__file__).parents[2] / 'README.md'


@pytest.mark.parametrize('table', [backbones_table, weights_table])
def test_the_readme_has_the_table_of_the_code(table):
    assert table() in README.read_text(), (
        'run `.venv/bin/python tools/describe_backbones.py --write-readme`'
    )


def test_every_backbone_is_in_the_table():
    assert {variant.cfg['type'] for variant in VARIANTS} == set(mmblocks.list_backbones())
