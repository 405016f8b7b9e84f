"""The configs of mmdet's zoo run, and docs/mmdet_zoo.md says what became of each."""

import copy
import os
import re
from pathlib import Path

import pytest

import mmblocks  # noqa: F401 - before mmcv.ops, which needs the forms that it serves

# isort: split
from benchmarks.zoo.configs import list_configs, read_model
from benchmarks.zoo.cut import cut
from benchmarks.zoo.run import in_own_process
from benchmarks.zoo.step import Outcome, try_model

PAGE = (Path(__file__).parents[1] / 'docs' / 'mmdet_zoo.md').read_text()
ROWS = re.findall(r'^\| (\S+) \| (\d+) \| (\d+) \| \d+ \|', PAGE, re.MULTILINE)


@pytest.fixture
def small(tmp_path, mmdet_models):
    """Cuts the model of a config."""
    return lambda config: cut(read_model(config), tmp_path)


@pytest.mark.parametrize(
    'config',
    [
        'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
        'fcos/fcos_r101-caffe_fpn_gn-head-1x_coco.py',
        'htc/htc_r50_fpn_1x_coco.py',
    ],
)
def test_models_train_and_predict(small, config):
    assert in_own_process(try_model, small(config)) == Outcome()


def test_a_step_that_fails_says_how(small):
    model = small('retinanet/retinanet_r18_fpn_1x_coco.py')
    model['train_cfg']['assigner']['type'] = 'HungarianAssigner'
    outcome = try_model(model)
    assert 'HungarianAssigner' in outcome.build
    assert (outcome.train, outcome.predict) == ('', '')


def test_a_process_that_dies_is_a_failure():
    assert (
        in_own_process(lambda model: os._exit(3), {}).build == 'the process ended with exit code 3'
    )


def test_cutting_leaves_the_config_alone(tmp_path):
    model = read_model('detr/detr_r101_8xb2-500e_coco.py')
    before = copy.deepcopy(model)
    small = cut(model, tmp_path)
    assert model == before
    assert small['backbone']['depth'] == 50
    assert 'init_cfg' not in small['backbone']


def test_the_page_counts_every_config_of_the_wheel():
    folders = [config.split('/')[0] for config in list_configs()]
    assert {name: int(count) for name, count, _ in ROWS} == {f: folders.count(f) for f in folders}


def test_the_page_names_every_failure():
    failed = re.findall(r'^- `(.+)`$', PAGE, re.MULTILINE)
    assert set(failed) <= set(list_configs())
    assert len(set(failed)) == len(failed) == sum(int(of) - int(good) for _, of, good in ROWS)
    total = sum(int(count) for _, count, _ in ROWS)
    assert f'**{total - len(failed)} of {total} train and predict**' in PAGE
