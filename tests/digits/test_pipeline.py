"""The digits config end to end on a small scale: train, resume, test, pictures, demo."""

import contextlib
import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from mmblocks.cli import demo
from mmblocks.digits import DigitsSettings, make_digits
from mmblocks.digits.history import read_history
from mmblocks.digits.progress import ProgressHook
from mmblocks.digits.training import epochs_done
from tests.engine.tiny_run import tool

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/digits/retinanet_ghostnet_fpn_digits.py'
SCENES = dict(train=16, val=6)


def options(data, epochs):
    """Shrinks the config; with no threshold on scores even an untrained net detects something."""
    return [
        f'train_dataloader.dataset.data_root={data}',
        f'val_dataloader.dataset.data_root={data}',
        f'test_dataloader.dataset.data_root={data}',
        f'val_evaluator.ann_file={data}/annotations/val.json',
        f'test_evaluator.ann_file={data}/annotations/val.json',
        *('train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False'),
        *('val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False'),
        *('test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False'),
        *('model.backbone.widen_factor=0.5', 'model.neck.in_channels=20,56,80'),
        *(
            'model.test_cfg.score_thr=0.0',
            'model.test_cfg.nms_pre=50',
            'model.test_cfg.max_per_img=20',
        ),
        f'train_cfg.max_epochs={epochs}',
        'train_cfg.val_interval=1',
        'default_hooks.logger.interval=1',
    ]


def call(name, *args):
    outcome = tool(name, *args, folder=ROOT)
    assert outcome.code == 0, outcome.out
    return outcome.out


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'digits'
    return make_digits(root, DigitsSettings(SCENES['train'], SCENES['val']))


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """The work folder of one epoch by tools/train.py and a second one by --resume."""
    work_dir = tmp_path_factory.mktemp('work') / 'train'
    call('train', CONFIG, '--work-dir', work_dir, '--cfg-options', *options(data, epochs=1))
    resumed = call(
        *('train', CONFIG, '--work-dir', work_dir, '--resume'),
        *('--cfg-options', *options(data, epochs=2)),
    )
    assert f'resuming from {work_dir / "epoch_1.pth"}' in resumed
    return work_dir


def test_training_and_resuming_leave_one_course_with_a_metric_each_epoch(trained):
    assert len(list(trained.glob('*/vis_data/scalars.json'))) == 2
    history = read_history(trained)
    assert [record['step'] for record in history.train] == [*range(1, 9)]  # 16 scenes, batch 4
    assert [epoch for epoch, _ in history.metrics()['mAP']] == [1, 2]
    losses = [loss for _, loss in history.losses()['loss']]
    assert sum(losses[4:]) < sum(losses[:4])


def test_the_latest_checkpoint_is_of_the_last_epoch(trained):
    assert epochs_done(trained) == 2


def test_testing_gives_the_metric_of_the_last_evaluation(trained, data, tmp_path):
    output = call(
        *('test', CONFIG, trained / 'epoch_2.pth', '--work-dir', tmp_path),
        *('--cfg-options', *options(data, epochs=2)),
    )
    assert 'coco/bbox_mAP_50' in output
    (log,) = tmp_path.glob('*/*.json')
    metrics = json.loads(log.read_text())
    assert metrics['coco/bbox_mAP'] == read_history(trained).val[-1]['coco/bbox_mAP']


def run_demo(data, work_dir, *args, epochs=1, changed=()):
    """Runs the demo in this process, since starting one takes longer than the small training.

    Returns:
        The exit code and what it printed.
    """
    command = ['demo', '--work-dir', str(work_dir), *args]
    command += [f'--{split}-scenes={count}' for split, count in SCENES.items()]
    command += ['--cfg-options', *options(data, epochs), *changed]
    output, code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setattr(sys, 'argv', command)
        try:
            demo.main()
        except SystemExit as end:
            code = end.code
    return code, output.getvalue()


@pytest.fixture(scope='module')
def shown(data, tmp_path_factory):
    """The work folder and the output of a demo that went well."""
    work_dir = tmp_path_factory.mktemp('demo') / 'work'
    code, output = run_demo(data, work_dir)
    assert code == 0
    return work_dir, output


def test_the_demo_trains_evaluates_draws_and_sums_up(shown):
    work_dir, output = shown
    assert 'Training RetinaNet with mmblocks.GhostNet' in output
    metrics = json.loads((work_dir / 'metrics.json').read_text())
    assert f'mAP            {metrics["coco/bbox_mAP"]:.3f}\n' in output
    assert 'training time  0 min' in output
    for name in ('detections.png', 'training.png'):
        assert f'{work_dir / name}\n' in output
        assert len(Image.open(work_dir / name).convert('RGB').getcolors(10_000_000)) > 100


def test_run_again_the_demo_reuses_all_of_it(shown, data):
    work_dir, _ = shown
    before = {p: p.stat().st_mtime_ns for p in work_dir.rglob('*')}
    code, output = run_demo(data, work_dir)
    assert code == 0
    assert 'Reusing the finished training' in output
    assert 'Evaluating' not in output
    assert {p: p.stat().st_mtime_ns for p in work_dir.rglob('*')} == before


def test_retraining_moves_the_old_training_aside(shown, data, tmp_path):
    work_dir = shutil.copytree(shown[0], tmp_path / 'work')
    code, output = run_demo(data, work_dir, '--retrain')
    assert code == 0
    (aside,) = (p for p in tmp_path.iterdir() if p != work_dir)
    assert aside.name in output.replace('\n', '')
    assert (aside / 'metrics.json').exists()
    assert (work_dir / 'metrics.json').exists()


def test_where_nothing_is_detected_it_says_so_and_fails(shown, data, tmp_path):
    work_dir = shutil.copytree(shown[0], tmp_path / 'work')
    code, output = run_demo(data, work_dir, changed=['model.test_cfg.score_thr=1.1'])
    assert code == 1
    assert 'the config or the data has changed' in ' '.join(output.split())
    assert 'nothing was detected, so there is no metric' in output
    assert not (work_dir / 'metrics.json').exists()


def test_an_interrupted_demo_goes_on_where_it_stopped(data, tmp_path, monkeypatch):
    def interrupt(hook, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt

    work_dir = tmp_path / 'work'
    with monkeypatch.context() as patch:
        patch.setattr(ProgressHook, 'before_train_epoch', interrupt)
        assert run_demo(data, work_dir, epochs=2)[0] == 130
    code, output = run_demo(data, work_dir, epochs=2)
    assert code == 0
    assert 'Going on after epoch 1' in output
    assert [record['step'] for record in read_history(work_dir).train] == [*range(1, 9)]


def test_the_demo_leaves_a_folder_of_something_else_alone(data, tmp_path, capsys):
    (tmp_path / 'thesis.txt').write_text('mine')
    assert run_demo(data, tmp_path)[0] == 2
    assert 'something else than a training of the demo' in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['thesis.txt']
