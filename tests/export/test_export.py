"""mmblocks export as a user runs it: files, what they find, and what is refused."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import mmblocks
from mmblocks.engine import load_config
from mmblocks.export import export as exporting
from mmblocks.export.detector import load_detector
from mmblocks.export.export import Settings, verify, write
from mmblocks.export.images import random_images
from mmblocks.export.runtime import OnnxFile, detections
from mmblocks.utils.errors import UserError
from tests.engine.tiny_run import EPOCHS, tool, trained

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with the config, the data, the checkpoint and what `mmblocks export` made of it."""
    folder, source = tmp_path_factory.mktemp('export'), trained()[0]
    (folder / 'tiny.py').write_text((source / 'tiny.py').read_text())
    (folder / 'data').symlink_to(source / 'data')
    (folder / 'tiny.pth').symlink_to(source / 'work' / f'epoch_{EPOCHS}.pth')
    outcome = tool('export', 'tiny.py', 'tiny.pth', '--out', 'tiny.onnx', folder=folder)
    assert outcome.code == 0, outcome.out[-2000:]
    (folder / 'said.txt').write_text(outcome.out)
    return folder


@pytest.fixture(scope='module')
def model(folder):
    return load_detector(load_config(str(folder / 'tiny.py')), str(folder / 'tiny.pth'))


def cfg_of(folder):
    return load_config(str(folder / 'tiny.py'))


def test_it_says_how_far_the_file_is_from_mmdet(folder):
    said = (folder / 'said.txt').read_text()
    assert re.search(r'tiny.onnx: [1-9]\d* detections compared, 0 without a partner', said)
    assert 'on 4 test images of 64x64' in said


def test_the_file_reaches_the_map_of_the_checkpoint(folder):
    outcome = tool('test', 'tiny.py', 'tiny.onnx', folder=folder)
    assert outcome.code == 0, outcome.out[-2000:]
    wanted = trained()[1].metrics('val')
    assert wanted['coco/bbox_mAP'] > 0
    assert outcome.metrics('test') == pytest.approx(wanted, abs=0.002)


def test_the_file_says_what_it_is(folder):
    about = OnnxFile(folder / 'tiny.onnx').about
    assert about['classes'] == ['red', 'green']
    assert about['size'] == [64, 64]
    assert (about['max_per_img'], about['score_thr']) == (10, 0.0)
    assert about['mmblocks_version'] == mmblocks.__version__
    assert about['mmdet_version'] == import_module('mmdet').__version__


def test_it_runs_where_there_is_no_torch(folder):
    """In a process of its own, in which importing torch or any of OpenMMLab is an error."""
    runner = ROOT / 'mmblocks' / 'deploy' / 'run_onnx.py'
    code = (
        'import runpy, sys\n'
        f'sys.path[:] = [*sys.path, *{[path for path in sys.path if "peers" in path]!r}]\n'
        "for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmblocks'): sys.modules[name] = None\n"
        "sys.argv = ['run', 'tiny.onnx', 'data/pictures/0.png', '--score-thr', '0.1']\n"
        f'runpy.run_path({str(runner)!r}, run_name="__main__")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = detections(OnnxFile(folder / 'tiny.onnx').run(picture(folder / 'data/pictures/0.png')))
    number = int((found[0].scores >= 0.1).sum())
    assert number > 0
    assert f'{number} detections drawn into drawn.png' in done.stdout
    before, after = picture(folder / 'data/pictures/0.png'), picture(folder / 'drawn.png')
    assert not torch.equal(before, after)


def picture(path):
    import cv2

    return torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1)[None].float()


@pytest.mark.slow
def test_one_file_takes_any_number_of_images(folder, model):
    settings = Settings(dynamic='batch')
    write(cfg_of(folder), model, (64, 64), settings, folder / 'batch.onnx')
    images = random_images(3, (64, 64))
    assert 'detections compared' in verify(
        cfg_of(folder), model, images, folder / 'batch.onnx', settings
    )
    dets, labels = OnnxFile(folder / 'batch.onnx').run(torch.stack(images))
    assert (dets.shape, labels.shape) == ((3, 10, 5), (3, 10))


def test_a_file_of_another_net_is_not_taken_for_it(folder):
    """The check that export makes is one that can fail."""
    other = load_detector(cfg_of(folder), str(folder / 'tiny.pth'))
    with torch.no_grad():
        other.bbox_head.retina_reg.bias += 0.1
    images = random_images(1, (64, 64))
    with pytest.raises(UserError, match='does not give what mmdet gives, and is not kept'):
        verify(cfg_of(folder), other, images, folder / 'tiny.onnx', Settings())


@pytest.mark.slow
def test_no_file_is_left_behind_where_the_results_differ(folder, monkeypatch):
    monkeypatch.setattr(exporting, 'MAP_TOLERANCE', -1.0)
    before = sorted(folder.iterdir())
    outcome = tool('export', 'tiny.py', 'tiny.pth', '--raw', '--out', 'wrong.onnx', folder=folder)
    assert outcome.code == 2
    assert 'is not kept: largest difference of a map' in outcome.last_error
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['tiny.py', '--out', 'a.onnx'], 'the following arguments are required: checkpoint'),
        (['tiny.py', 'gone.pth', '--out', 'a.onnx'], 'checkpoint not found: gone.pth'),
        (['tiny.py', 'tiny.pth', '--out', 'a.pth'], '--out must end in .onnx, not a.pth'),
        (['tiny.py', 'tiny.pth', '--out', 'no/a.onnx'], '--out no/a.onnx: there is no folder no'),
        (['tiny.py', 'tiny.pth', '--out', 'a.onnx', '--size', '0', '9'], '--size 0 9: must be pos'),
        (['tiny.py', 'tiny.pth', '--out', 'a.onnx', '--max-per-img', '0'], '--max-per-img 0: must'),
        (['tiny.py', 'tiny.pth', '--out', 'a.onnx', '--score-thr', '1'], '--score-thr 1.0: must'),
        (
            ['tiny.py', 'tiny.pth', '--out', 'a.onnx', '--cfg-options', 'model.backbone.depth=34'],
            'tiny.pth does not fit RetinaNet: 120 of 200 tensors',
        ),
        (
            [
                *('tiny.py', 'tiny.pth', '--out', 'a.onnx'),
                *('--cfg-options', 'model.test_cfg.nms.type=soft_nms'),
            ],
            'has no form in ONNX; take nms=dict',
        ),
        (
            ['tiny.py', 'tiny.pth', '--out', 'a.pt2', '--format', 'torch', '--dynamic', 'batch'],
            '--dynamic batch is for --format onnx',
        ),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, expected, folder):
    outcome = tool('export', *arguments, folder=folder)
    assert outcome.code == 2
    assert expected in outcome.last_error
    assert 'Traceback' not in outcome.out
    assert not (folder / 'a.onnx').exists()


def test_another_onnx_file_is_no_detector(folder):
    onnx = import_module('onnx')
    value = onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node('Identity', ['x'], ['y'])
    end = onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], 'other', [value], [end])
    opset = [onnx.helper.make_opsetid('', 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.save(model, str(folder / 'other.onnx'))
    for name, expected in (
        ('other.onnx', 'is no file that `mmblocks export` has written'),
        ('gone.onnx', 'gone.onnx cannot be loaded'),
    ):
        outcome = tool('test', 'tiny.py', name, folder=folder)
        assert outcome.code == 2
        assert expected in outcome.last_error


def test_rows_left_over_are_no_detections():
    dets = np.array([[[1.0, 2, 3, 4, 0.5], [0, 0, 0, 0, 0]]], np.float32)
    (found,) = detections([dets, np.array([[3, -1]])])
    assert json.dumps(found.labels.tolist()) == '[3]'
    assert found.boxes.tolist() == [[1.0, 2, 3, 4]]
