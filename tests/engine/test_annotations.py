"""What is wrong with data is said before a training begins, in one line that names the file."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmblocks.engine import UserError
from mmblocks.engine.data import check_data
from tests.engine.tiny_run import CONFIG, tool, write_workspace

FILE = Path('data/annotations.json')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = write_workspace(tmp_path / 'workspace')
    monkeypatch.chdir(folder)
    return folder


def refusal(cfg=None, task='train'):
    with pytest.raises(UserError) as caught:
        check_data(cfg or Config.fromstring(CONFIG, '.py'), task)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def rewrite(change):
    content = json.loads(FILE.read_text())
    change(content)
    FILE.write_text(json.dumps(content))


def set_box(box):
    return lambda content: content['annotations'][3].update(bbox=box)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', 'data/annotations.json is empty'),
        ('{}', 'data/annotations.json is no COCO annotation file: it has no list "images"'),
        ('[]', 'is no COCO annotation file'),
        ('{"images": 3, "categories": []}', 'it has no list "images"'),
        ('{"images": [], "categories": []}', 'lists no images (train_dataloader.dataset)'),
        ('{"images": [1], "categories": [2]}', 'is no COCO annotation file'),
        ('\xff\xfe', 'is cut or is no JSON'),
    ],
)
def test_a_file_without_annotations_is_named(text, expected, folder):
    FILE.write_bytes(text.encode('latin1'))
    assert expected in refusal()


def test_a_cut_file_is_named(folder):
    FILE.write_bytes(FILE.read_bytes()[:-40])
    assert refusal().startswith('data/annotations.json is cut or is no JSON: ')


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (set_box([float('nan'), 0, 9, 9]), 'id=4 of image 3.png has bbox=[nan, 0, 9, 9]: must be'),
        (set_box([0, 0, float('inf'), 9]), 'id=4 of image 3.png has bbox=[0, 0, inf, 9]: must be'),
        (set_box([5, 5, -3, 9]), 'id=4 of image 3.png has bbox=[5, 5, -3, 9]: must be finite'),
        (set_box([1, 2, 3]), 'has bbox=[1, 2, 3]: must be four numbers'),
        (set_box('1234'), 'has bbox=1234: must be four numbers'),
        (lambda c: c['annotations'][3].pop('bbox'), 'id=4 of image 3.png has no bbox'),
        (lambda c: c['annotations'][3].pop('area'), 'id=4 of image 3.png has no area'),
        (lambda c: c['annotations'].clear(), 'has no annotations (train_dataloader.dataset)'),
        (lambda c: c['images'][1].pop('width'), 'image 2 has no width'),
        (lambda c: c['categories'].pop(), 'has no category green, which train_dataloader.dataset'),
        (
            lambda c: c['categories'].reverse(),
            'in another order than train_dataloader.dataset.metainfo.classes, so that names would '
            "be mixed up; write classes=('green', 'red')",
        ),
        (
            lambda c: [a.update(category_id=7) for a in c['annotations']],
            'nothing is left of data/annotations.json to train on: of its 5 images 0 have boxes',
        ),
    ],
)
def test_what_cannot_be_used_is_named(change, expected, folder):
    rewrite(change)
    assert expected in refusal()


def test_what_mmdet_leaves_out_by_design_is_no_error(folder):
    """COCO itself has boxes without a width, and files for testing have no boxes."""
    rewrite(set_box([5, 5, 0, 9]))
    check_data(Config.fromstring(CONFIG, '.py'), 'train')
    rewrite(lambda content: content.pop('annotations'))
    check_data(Config.fromstring(CONFIG, '.py'), 'test')
    assert 'has no annotations' in refusal()
    unlabelled = Config.fromstring(CONFIG, '.py')
    unlabelled.train_dataloader.dataset.pipeline[1] = dict(type='LoadEmptyAnnotations')
    check_data(unlabelled, 'train')


def test_images_that_are_missing_or_empty_are_named(folder):
    pictures = Path('data/pictures')
    (pictures / '2.png').write_bytes(b'')
    empty = '1 of the 5 images of data/annotations.json are empty: data/pictures/2.png'
    assert refusal().startswith(empty)
    (pictures / '2.png').unlink()
    assert '1 of the 5 images of data/annotations.json are missing: data/pictures/2' in refusal()
    # mmdet never opens the images that the filter leaves out.
    rewrite(lambda content: content['annotations'].pop(2))
    cfg = Config.fromstring(CONFIG, '.py')
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    cfg.val_dataloader = cfg.val_evaluator = None
    check_data(cfg, 'train')


@pytest.mark.parametrize(
    ('wrapper', 'where'),
    [
        (lambda d: dict(type='RepeatDataset', times=2, dataset=d), 'dataset.dataset'),
        (lambda d: dict(type='ConcatDataset', datasets=[d]), 'dataset.datasets[0]'),
        (lambda d: dict(type='MultiImageMixDataset', dataset=d, pipeline=[]), 'dataset.dataset'),
    ],
)
def test_wrappers_are_looked_through(wrapper, where, folder):
    rewrite(lambda content: content['images'].clear())
    cfg = Config.fromstring(CONFIG, '.py')
    cfg.train_dataloader.dataset = wrapper(cfg.train_dataloader.dataset)
    assert refusal(cfg) == f'data/annotations.json lists no images (train_dataloader.{where})'


def test_only_the_first_process_reads_for_all(folder, monkeypatch):
    FILE.write_text('')
    cfg = Config.fromstring(CONFIG, '.py')
    cfg.launcher = 'slurm'
    monkeypatch.setenv('SLURM_PROCID', '1')
    check_data(cfg, 'train')
    monkeypatch.setenv('SLURM_PROCID', '0')
    assert refusal(cfg) == 'data/annotations.json is empty'


def test_datasets_of_other_kinds_are_left_to_themselves(folder):
    FILE.write_text('not JSON at all')
    cfg = Config.fromstring(CONFIG, '.py')
    cfg.train_dataloader.dataset.type = 'XMLDataset'
    cfg.val_dataloader = cfg.val_evaluator = None
    check_data(cfg, 'train')


@pytest.mark.parametrize('workers', [0, 1])
def test_an_image_that_is_found_to_be_cut_while_training_is_named(workers, folder):
    picture = Path('data/pictures/3.png')
    picture.write_bytes(picture.read_bytes()[:200])
    options = ('--cfg-options', f'train_dataloader.num_workers={workers}')
    outcome = tool('train', 'tiny.py', *options, folder=folder)
    assert outcome.code == 2
    assert outcome.last_error == 'error: failed to load image: data/pictures/3.png'
    assert 'Traceback' not in outcome.err


@pytest.mark.parametrize(
    ('spoil', 'expected'),
    [
        (lambda picture: picture.unlink(), "No such file or directory: 'data/pictures/3.png'"),
        (lambda picture: picture.write_bytes(b''), 'an image is empty: data/pictures/3.png'),
    ],
)
def test_an_image_that_nobody_has_looked_for_is_named(spoil, expected, folder):
    spoil(Path('data/pictures/3.png'))
    # Of some of the images, the others need not be there.
    (folder / 'some.py').write_text(
        "_base_ = './tiny.py'\ntrain_dataloader = dict(dataset=dict(indices=[3, 3]))\n"
    )
    without = ('val_dataloader=None', 'val_cfg=None', 'val_evaluator=None')
    outcome = tool('train', 'some.py', '--cfg-options', *without, folder=folder)
    assert outcome.code == 2
    assert outcome.last_error.endswith(expected)
    assert 'Traceback' not in outcome.err
