"""Every Python snippet of the README runs."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS

import mmblocks

TEXT = (Path(__file__).parents[1] / 'README.md').read_text()
SNIPPETS = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
CONFIGS = [s for s in SNIPPETS if 'import mmblocks' not in s]
PROGRAMS = [s for s in SNIPPETS if 'import mmblocks' in s]


def test_there_are_snippets_of_both_kinds():
    assert len(CONFIGS) >= 2
    assert len(PROGRAMS) >= 2


@pytest.mark.parametrize('program', PROGRAMS)
def test_programs_run(program):
    exec(program, {})


@pytest.mark.parametrize('text', CONFIGS)
def test_configs_build_what_they_name(text, tmp_path, mmdet_models):
    path = tmp_path / 'config.py'
    path.write_text(text)
    cfg = Config.fromfile(path)
    if 'model' in cfg:
        assert isinstance(mmdet_models.build(cfg.model).backbone, mmblocks.BaseBackbone)
    for hook in cfg.get('custom_hooks', []):
        HOOKS.build(hook)


def test_the_line_about_freezing_is_what_the_log_says():
    assert mmblocks.ResNet(50, frozen_stages=1).frozen_summary() in TEXT
