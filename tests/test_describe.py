"""The table of backbones in the README is the one that the code gives."""

from pathlib import Path

import mmblocks
from mmblocks.describe import VARIANTS, markdown_table

README = Path(__file__).parents[1] / 'README.md'


def test_the_readme_has_the_table_of_the_code():
    assert markdown_table() in README.read_text(), (
        'run `.venv/bin/python tools/describe_backbones.py --write-readme`'
    )


def test_every_backbone_is_in_the_table():
    assert {variant.cfg['type'] for variant in VARIANTS} == set(mmblocks.list_backbones())
