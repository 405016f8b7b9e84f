"""Configs are found, read and changed, and what is wrong with them is said in one line."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmblocks.engine import UserError, find_config, load_config, merge_options

MODEL = "model = dict(type='RetinaNet', backbone=dict(type='ResNet', depth=18))\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('good.py').write_text(MODEL + 'steps = [dict(at=1), dict(at=2)]\n')
    return tmp_path


def refusal(name, options=None):
    with pytest.raises(UserError) as caught:
        load_config(name, options)
    message = str(caught.value)
    assert '\n' not in message
    return message


def test_a_config_is_read_and_changed(folder):
    cfg = load_config('good.py', {'model.backbone.depth': 50, 'steps.1.at': 3})
    assert cfg.model.backbone.depth == 50
    assert [step['at'] for step in cfg.steps] == [1, 3]


def test_configs_of_packages_are_found():
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    assert cfg.model.type == 'RetinaNet'
    assert Path(cfg.filename).name == 'retinanet_r50_fpn_1x_coco.py'


def test_a_wrong_name_is_answered_with_near_ones(folder):
    Path('configs/ssd').mkdir(parents=True)
    Path('configs/ssd/ssd300.py').write_text(MODEL)
    assert refusal('god.py') == 'config not found: god.py; did you mean good.py?'
    assert refusal('sdd/ssd300.py').endswith('did you mean configs/ssd/ssd300.py?')
    assert refusal('nothing-like-it.py') == 'config not found: nothing-like-it.py'
    wrong = refusal('mmdet::retinanet/retinanet_r50_fpn_1x_coc.py')
    assert 'did you mean retinanet_r50_fpn_1x_coco.py' in wrong
    assert 'no installed package "nowhere"' in refusal('nowhere::a/b.py')
    assert refusal('.').endswith('configs in it: good.py')


def test_a_file_that_is_no_config_is_refused(folder):
    Path('model.pth').write_bytes(b'')
    assert refusal('model.pth').startswith('model.pth is no config')
    Path('part.py').write_text('lr = 1\n')
    assert refusal('part.py').startswith('part.py has no "model"')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (MODEL + 'a = (1,\n', "bad.py, line 2: syntax error: '(' was never closed"),
        (MODEL + '\nb = a\n', "bad.py, line 3: NameError: name 'a' is not defined"),
        ("_base_ = './gone.py'\n", 'bad.py: its base gone.py does not exist'),
        ("_base_ = './broken.py'\n", 'broken.py, line 1: syntax error: invalid syntax'),
        ("_base_ = './good.py'\nmodel = dict(backbone=1 / 0)\n", 'bad.py, line 2: ZeroDivision'),
        (MODEL + "custom_imports = dict(imports=['absent_module'])\n", "No module named 'absent_"),
        (
            'from mmengine.config import read_base\nwith read_base():\n    from .gone import *',
            'gone',
        ),
    ],
)
def test_errors_in_a_config_name_file_and_line(text, expected, folder):
    Path('bad.py').write_text(text)
    Path('broken.py').write_text('a b\n')
    assert expected in refusal('bad.py')


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        ('modell.type', '"modell", which is added; did you mean model?'),
        ('model.backbone.dept', '"model.backbone.dept", which is added; did you mean depth?'),
        ('train_pipeline.0.type', '"train_pipeline", which is added'),
    ],
)
def test_a_key_that_may_be_misspelt_is_warned_of(key, expected, folder, capsys):
    load_config('good.py', {key: 1})
    assert capsys.readouterr().err == (
        f'warning: --cfg-options {key}: the config has no {expected}\n'
    )


@pytest.mark.parametrize(
    'key',
    [
        'model.backbone.depth',  # is there
        'model.backbone.frozen_stages',  # an argument that ResNet would refuse if it had none such
        'load_from',
        'train_cfg.max_epochs',
        'default_hooks.checkpoint.interval',
        'find_unused_parameters',
        'model.backbone._delete_',
        'model.neck.type',
    ],
)
def test_a_key_that_is_looked_for_is_not(key, capsys):
    merge_options(Config(dict(model=dict(type='A', backbone=dict(type='B', depth=1)))), {key: 1})
    merge_options(Config(dict(default_hooks=dict(), model=dict(type='A'))), {})
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        ('steps.2.at', '"steps" is a list of 2, so "2" must be an index from 0 to 1'),
        ('steps.first', '"steps" is a list of 2, so "first" must be an index from 0 to 1'),
        ('model.backbone.depth.x', '"model.backbone.depth" is 18, which has no key "x"'),
    ],
)
def test_a_key_that_cannot_be_set_is_refused(key, expected, folder):
    assert refusal('good.py', {key: 1}) == f'--cfg-options {key}: {expected}'


def test_find_config_gives_a_path_that_exists():
    assert find_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').is_file()
