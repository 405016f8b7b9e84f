"""What the README and the documentation say runs, and is true."""

import importlib
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS

import mmblocks
from mmblocks.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
TEXT = {page.name: page.read_text() for page in PAGES}
FENCE = r'^```{}\n(.*?)^```$'


def fenced(language):
    """The fenced blocks of all pages, with the page's name."""
    pattern = re.compile(FENCE.format(language), re.DOTALL | re.MULTILINE)
    return [(name, block) for name, text in TEXT.items() for block in pattern.findall(text)]


def named(blocks):
    """A parameter set per block, named by its page."""
    return [pytest.param(block, id=f'{page}-{i}') for i, (page, block) in enumerate(blocks)]


SNIPPETS = fenced('python')
CONFIGS = [(page, text) for page, text in SNIPPETS if 'import mmblocks' not in text]
PROGRAMS = [(page, text) for page, text in SNIPPETS if 'import mmblocks' in text]
COMMAND_LINES = [
    (page, line)
    for page, block in fenced('')
    for line in block.replace('\\\n', ' ').splitlines()
    if re.match(r'(\$ )?mmblocks [a-z]', line)
]


@pytest.mark.parametrize('program', named(PROGRAMS))
def test_programs_run(program, peer):
    exec(program, {})


@pytest.mark.parametrize('text', named(CONFIGS))
def test_configs_build_what_they_name(text, tmp_path, mmdet_models):
    path = tmp_path / 'config.py'
    path.write_text(text)
    cfg = Config.fromfile(path)
    built = []
    if 'model' in cfg:
        built.append(mmdet_models.build(cfg.model).backbone)
    if 'backbone' in cfg:
        built.append(MODELS.build(cfg.backbone))
    assert all(isinstance(backbone, mmblocks.BaseBackbone) for backbone in built)
    built += [HOOKS.build(hook) for hook in cfg.get('custom_hooks', [])]
    assert built


@pytest.mark.parametrize('line', named(COMMAND_LINES))
def test_commands_have_the_options_that_they_are_shown_with(line, run_command):
    name, *words = line.removeprefix('$ ').split()[1:]
    assert name in COMMANDS
    main = importlib.import_module(f'mmblocks.cli.{name}').main
    code, said, _ = run_command(main, name, '--help')
    assert code == 0
    for option in (word for word in words if word.startswith('--')):
        assert re.search(rf'{option}\b', said), option


def test_the_line_about_freezing_is_what_the_log_says():
    assert mmblocks.ResNet(50, frozen_stages=1).frozen_summary() in TEXT['freeze.md']


def test_errors_that_are_explained_are_those_of_the_code():
    source = ' '.join(path.read_text() for path in (ROOT / 'mmblocks').rglob('*.py'))
    joined = re.sub(r"'\s+f?'", '', source)  # strings that go on in the next line
    rows = re.findall(r'^\| (`.+?) \| ', TEXT['errors.md'], re.MULTILINE)
    said = [part for row in rows for part in re.findall(r'`(.+?)`', row)]
    assert len(said) > 10
    assert [text for text in said if text not in joined] == []


def test_the_readme_is_short():
    assert len(TEXT['README.md'].splitlines()) <= 150


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\((?!https?://)([^)#]+)', TEXT[page.name]):
        assert (page.parent / target).exists(), target


def test_every_public_name_is_in_the_reference():
    said = ' '.join(path.read_text() for path in (ROOT / 'docs' / 'api').glob('*.md'))
    names = set(re.findall(r':: mmblocks\.(\w+)$', said, re.MULTILINE))
    assert names == set(mmblocks.__all__) - {'__version__'}
