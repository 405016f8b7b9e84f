"""tools/test.py as a user runs it."""

import pickle

import cv2
import numpy as np
import pytest
import torch

from tests.engine.tiny_run import EPOCHS, tool, torchrun, trained

CLASSIFIER = 'mmblocks::digits/lenet5_digits_cls.py'


@pytest.fixture
def folder(tmp_path):
    """A folder of its own with the config and, by a link, the data of the trained run."""
    source, _ = trained()
    (tmp_path / 'tiny.py').write_text((source / 'tiny.py').read_text())
    (tmp_path / 'data').symlink_to(source / 'data')
    return tmp_path


@pytest.fixture
def checkpoint():
    return trained()[0] / 'work' / f'epoch_{EPOCHS}.pth'


def predictions(path):
    content = pickle.loads(path.read_bytes())
    return [(entry['img_id'], entry['pred_instances']) for entry in content]


def test_the_metrics_are_those_of_training(folder, checkpoint):
    outcome = tool('test', 'tiny.py', checkpoint, folder=folder)
    assert outcome.code == 0, outcome.out[-2000:]
    assert outcome.err == ''
    assert outcome.metrics('test') == trained()[1].metrics('val')
    assert (folder / 'work_dirs' / 'tiny').is_dir()


def test_the_inference_form_finds_the_same(folder, checkpoint):
    outcome = tool('test', 'tiny.py', checkpoint, '--fast', folder=folder)
    assert outcome.code == 0, outcome.out[-2000:]
    assert 'ToInferenceHook' in outcome.out
    expected = trained()[1].metrics('val')
    assert outcome.metrics('test') == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_two_processes_find_the_same_as_one(folder, checkpoint):
    """Five pictures do not divide by two: one that is tested twice must count once."""
    one = tool('test', 'tiny.py', checkpoint, '--out', 'one.pkl', folder=folder)
    two = torchrun(
        'test', 'tiny.py', checkpoint, '--launcher', 'pytorch', '--out', 'two.pkl', folder=folder
    )
    assert (one.code, two.code) == (0, 0), two.out[-3000:]
    assert two.metrics('test') == one.metrics('test')
    ours, theirs = predictions(folder / 'one.pkl'), predictions(folder / 'two.pkl')
    assert [i for i, _ in ours] == [i for i, _ in theirs] == [1, 2, 3, 4, 5]
    for (_, a), (_, b) in zip(ours, theirs, strict=True):
        assert torch.equal(a['bboxes'], b['bboxes'])
        assert torch.equal(a['scores'], b['scores'])


def test_pictures_are_drawn(folder, checkpoint):
    draw_all = 'default_hooks.visualization.score_thr=0.0'
    outcome = tool(
        'test',
        *('tiny.py', checkpoint, '--show-dir', 'drawn', '--work-dir', 'work'),
        *('--cfg-options', draw_all),
        folder=folder,
    )
    assert outcome.code == 0, outcome.out[-2000:]
    assert 'pictures go to work/<time>/drawn' in outcome.err
    drawn = sorted((folder / 'work').glob('*/drawn/*.png'))
    assert [path.name for path in drawn] == [f'{i}.png' for i in range(5)]
    plain = cv2.imread(str(folder / 'data' / 'pictures' / '0.png'))
    truth, found = np.split(cv2.imread(str(drawn[0])), 2, axis=1)
    assert not np.array_equal(truth, plain)
    assert not np.array_equal(found, plain)


def test_pictures_are_drawn_without_a_visualizer_in_the_config(folder, checkpoint):
    text = (folder / 'tiny.py').read_text()
    text = text.replace("    visualization=dict(type='DetVisualizationHook')", '')
    bare = text[: text.index('visualizer = ')] + text[text.index('randomness = ') :]
    (folder / 'bare.py').write_text(bare)
    outcome = tool('test', 'bare.py', checkpoint, '--show-dir', 'drawn', folder=folder)
    assert outcome.code == 0, outcome.out[-2000:]
    assert len(list(folder.glob('work_dirs/bare/*/drawn/*.png'))) == 5


def test_augmentation_at_test_time(folder, checkpoint):
    outcome = tool('test', 'tiny.py', checkpoint, '--tta', folder=folder)
    assert outcome.code == 0, outcome.out[-2000:]
    assert outcome.metrics('test')['coco/bbox_mAP_50'] > 0


def test_weights_alone_and_weights_of_ddp_can_be_tested(folder, checkpoint):
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    torch.save(state, folder / 'bare.pth')
    torch.save({f'module.{name}': value for name, value in state.items()}, folder / 'ddp.pth')
    for name in ('bare.pth', 'ddp.pth'):
        outcome = tool('test', 'tiny.py', name, folder=folder)
        assert outcome.metrics('test') == trained()[1].metrics('val')
        assert outcome.err == ''


def test_weights_that_are_left_over_are_warned_of(folder, checkpoint):
    content = torch.load(checkpoint, weights_only=False)
    content['state_dict']['extra.weight'] = torch.ones(1)
    torch.save(content, folder / 'extra.pth')
    outcome = tool('test', 'tiny.py', 'extra.pth', folder=folder)
    assert outcome.code == 0
    assert 'warning: extra.pth holds more than RetinaNet takes: 120 of 120' in outcome.err
    assert '1 without a place here (extra.weight)' in outcome.err


def test_a_checkpoint_of_another_model_is_refused(folder, checkpoint):
    change = 'model.backbone.depth=34'
    outcome = tool('test', 'tiny.py', checkpoint, '--cfg-options', change, folder=folder)
    assert outcome.code == 2
    assert f'error: {checkpoint} does not fit RetinaNet: 120 of 200 tensors' in outcome.last_error
    assert '80 missing (backbone.layer1.2.conv1.weight, ' in outcome.last_error
    assert 'Epoch(test)' not in outcome.out


@pytest.mark.parametrize('missing', ['backbone.bn1.running_mean', 'bbox_head.retina_reg.bias'])
def test_a_single_missing_tensor_is_enough_to_refuse(missing, folder, checkpoint):
    content = torch.load(checkpoint, weights_only=False)
    del content['state_dict'][missing]
    torch.save(content, folder / 'missing.pth')
    outcome = tool('test', 'tiny.py', 'missing.pth', folder=folder)
    assert outcome.code == 2
    assert f'119 of 120 tensors loaded, 1 missing ({missing})' in outcome.last_error


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['tiny.py', 'gone.pth'], 'checkpoint not found: gone.pth'),
        (['tiny.py', 'tiny.py'], 'tiny.py is no checkpoint that torch can read'),
        (['gone.py', 'gone.pth'], 'config not found: gone.py'),
        (['tiny.py', 'gone.pth', '--out', 'a.json'], '--out must end in .pkl or .pickle'),
        (['tiny.py'], 'the following arguments are required: checkpoint'),
        ([CLASSIFIER, 'gone.pth', '--tta'], '--tta is for detectors of mmdet; the model is a Back'),
        ([CLASSIFIER, 'gone.pth', '--show-dir', 'a'], '--show-dir is for detectors of mmdet; the'),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, expected, folder):
    outcome = tool('test', *arguments, folder=folder)
    assert outcome.code == 2
    assert expected in outcome.last_error
    assert 'Traceback' not in outcome.out


def test_no_detection_at_all_is_said(folder, checkpoint):
    nothing = 'model.test_cfg.score_thr=1.0'
    outcome = tool('test', 'tiny.py', checkpoint, '--cfg-options', nothing, folder=folder)
    assert outcome.code == 0
    assert 'warning: there is no metric: nothing was detected' in outcome.err
