"""``mmblocks new``: a config of mmdet turned to own data."""

import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, DefaultScope

from mmblocks.engine import load_config
from mmblocks.engine.consistency import check_consistency
from mmblocks.engine.data import check_data
from mmblocks.own_data import Options, new_config
from mmblocks.own_data.schedule import choose_epochs
from mmblocks.utils.errors import UserError
from tests.engine.tiny_run import CONFIG, tool
from tests.own_data.coins import write_coins
from tests.own_data.pictures import square_set, two_splits, write

RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
VOC = 'mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py'
YOLOX = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
MASK2FORMER = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'


@pytest.fixture(scope='module')
def splits(tmp_path_factory):
    """A training and a validation set of pictures with red and green squares."""
    return two_splits(tmp_path_factory.mktemp('squares'))


@pytest.fixture
def renew(splits, tmp_path):
    """Writes a config for the squares and reads it again."""

    def write_config(base, **options):
        out = tmp_path / 'own.py'
        new = new_config(base, *splits, out, Options(**options))
        new.save(out)
        return Config.fromfile(out)

    return write_config


def base_with(folder, text, base=RETINANET):
    """A base that changes another one."""
    path = folder / 'base.py'
    path.write_text(f'_base_ = {base!r}\n{text}\n')
    return str(path)


@pytest.mark.parametrize(
    'base',
    [
        VOC,
        YOLOX,
        MASK2FORMER,
        'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
        'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
        'mmdet::lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py',
    ],
    ids=lambda base: base.split('/')[1].split('_')[0],
)
def test_every_head_and_dataset_has_the_own_classes(base, renew, splits, mmdet_models):
    cfg = renew(base)
    check_consistency(cfg, 'train')
    check_data(cfg, 'train')
    with torch.device('meta'):
        model = mmdet_models.build(cfg.model)
    counts = {
        name: module.num_classes
        for name, module in model.named_modules()
        if hasattr(module, 'num_classes') and 'rpn_head' not in name
    }
    assert set(counts.values()) == {2}, counts
    with DefaultScope.overwrite_default_scope('mmdet'):
        for loader, split in zip(('train', 'val', 'test'), (*splits, splits[1]), strict=True):
            dataset = DATASETS.build(cfg[f'{loader}_dataloader'].dataset)
            assert dataset.metainfo['classes'] == ('red', 'green')
            inner = cfg[f'{loader}_dataloader'].dataset
            repeats = inner.get('times', 1)
            assert len(dataset) == 12 * repeats
            while hasattr(dataset, 'dataset'):
                dataset = dataset.dataset
            paths = {dataset.get_data_info(i)['img_path'] for i in range(len(dataset))}
            assert {Path(path).parent for path in paths} == {split.folder}
        for key in ('val_evaluator', 'test_evaluator'):
            metric = METRICS.build(cfg[key])
            assert type(metric).__name__ == 'CocoMetric'
            assert len(metric._coco_api.anns) == 12


def test_an_rpn_keeps_its_single_class(tmp_path, renew):
    base = base_with(
        tmp_path,
        'model = dict(rpn_head=dict(num_classes=1))',
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    )
    assert renew(base).model.rpn_head.num_classes == 1


def test_heads_with_classes_of_their_own_are_left_and_named(tmp_path, splits):
    base = base_with(tmp_path, 'model = dict(bbox_head=dict(loss_cls=dict(num_classes=7)))')
    new = new_config(base, *splits, tmp_path / 'own.py')
    assert 'bbox_head.num_classes 80 -> 2' in new.report
    assert 'bbox_head.loss_cls.num_classes 7: unchanged' in new.report


@pytest.mark.parametrize(
    ('base', 'said'),
    [
        ('mmdet::rpn/rpn_r50_fpn_1x_coco.py', 'no head of the base has the number of its classes'),
        ('mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', 'more than boxes and masks'),
        ('mmdet::fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py', 'more than boxes and masks'),
        (
            'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
            'mixes',
        ),
    ],
    ids=['rpn', 'panoptic', 'proposals', 'semi-supervised'],
)
def test_bases_for_other_data_are_refused_in_one_line(base, said, splits, tmp_path):
    with pytest.raises(UserError) as error:
        new_config(base, *splits, tmp_path / 'own.py')
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_the_config_says_what_differs_and_nothing_else(splits, tmp_path):
    new = new_config(RETINANET, *splits, tmp_path / 'own.py', Options(epochs=12, batch_size=16))
    names = [line.split(' = ')[0] for line in new.text.splitlines() if not line.startswith(' ')]
    wanted = ['_base_', 'data_root', 'metainfo', 'model', 'train_dataloader', 'val_dataloader']
    wanted += ['test_dataloader', 'val_evaluator', 'test_evaluator', 'param_scheduler']
    assert [n for n in names if n.isidentifier()] == wanted
    assert 'model = dict(bbox_head=dict(num_classes=2))\n' in new.text
    assert 'pipeline' not in new.text


def test_each_of_several_evaluators_is_turned(tmp_path, renew, splits):
    base = base_with(
        tmp_path,
        "coco = dict(type='CocoMetric', ann_file='a.json', metric='bbox')\n"
        "kept = dict(type='DumpResults', out_file_path='x.pkl')\n"
        'val_evaluator = [coco, dict(type="VOCMetric"), kept]\n'
        'test_evaluator = [dict(type="VOCMetric"), kept]',
        base=VOC,
    )
    cfg = renew(base)
    val = str(splits[1].source)
    coco, kept = cfg.val_evaluator
    assert (coco.type, coco.ann_file) == ('CocoMetric', val)
    assert kept.type == 'DumpResults'
    assert [metric.type for metric in cfg.test_evaluator] == ['CocoMetric', 'DumpResults']


def test_the_learning_rate_goes_with_the_batch_size(renew):
    cfg = renew(RETINANET, batch_size=4)
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * 4 / 16)
    assert cfg.auto_scale_lr.base_batch_size == 4
    yolox = renew(YOLOX, batch_size=16)
    assert yolox.optim_wrapper.optimizer.lr == pytest.approx(0.01 * 16 / 64)
    assert yolox.param_scheduler[1].eta_min == pytest.approx(0.01 * 0.05 * 16 / 64)


def test_a_small_set_is_trained_on_for_longer(renew):
    cfg = renew(RETINANET)  # 12 images, 2 a batch
    assert cfg.train_cfg.max_epochs == 300
    warmup, steps = cfg.param_scheduler
    assert steps.milestones == [200, 275]  # 8 and 11 of 12 epochs
    assert steps.end == 300
    assert warmup.end == 180  # a tenth of 300 epochs of 6 iterations, below the 500 of the base
    assert cfg.train_cfg.val_interval == 25
    assert cfg.default_hooks.checkpoint.interval == 25


def test_iterations_are_counted_where_the_base_counts_them(renew):
    cfg = renew(MASK2FORMER, batch_size=4)
    assert cfg.train_cfg.max_iters == 300 * 3
    (steps,) = cfg.param_scheduler
    assert steps.end == 900
    ratios = [m / 900 for m in steps.milestones]
    assert ratios == pytest.approx([327778 / 368750, 355092 / 368750], abs=1e-3)


def test_what_switches_near_the_end_still_does(renew):
    cfg = renew(YOLOX, epochs=30)
    assert cfg.train_cfg.max_epochs == 30
    switch = next(hook for hook in cfg.custom_hooks if hook.type == 'YOLOXModeSwitchHook')
    assert switch.num_last_epochs == 2  # 15 of 300
    assert cfg.param_scheduler[-1].end == 30


@pytest.mark.parametrize('images', [1, 10, 999, 5_000, 117_266, 10**6])
@pytest.mark.parametrize('of_base', [1, 12, 36, 300])
def test_no_set_is_trained_on_for_shorter_than_the_base(of_base, images):
    epochs = choose_epochs(of_base, images)
    assert of_base <= epochs <= max(of_base, 300)
    assert epochs == of_base or epochs == 300 or epochs * images >= 50_000 > (epochs - 1) * images


def test_all_sizes_of_images_scale_along(renew, tmp_path):
    cfg = renew(YOLOX, size=320)
    mosaic, affine, *_ = cfg.train_dataloader.dataset.pipeline
    assert mosaic.img_scale == (320, 320)
    assert affine.border == (-160, -160)
    assert cfg.model.data_preprocessor.batch_augments[0].random_size_range == (160, 320)
    retinanet = renew(RETINANET, size=667)
    assert retinanet.train_dataloader.dataset.pipeline[2].scale == (667, 400)
    assert retinanet.test_dataloader.dataset.pipeline[1].scale == (667, 400)


def test_small_boxes_get_an_advice(tmp_path):
    train, val = two_splits(tmp_path, side=4, size=(640, 480))
    out = tmp_path / 'own.py'
    new = new_config(RETINANET, train, val, out, Options(size=640))
    (advice,) = new.warnings
    assert advice.startswith('100% of the boxes are smaller than one cell of the finest map (st')
    # 640x384 shrinks the images to 4/5, so that 2.5 times as much makes 8 pixels of 4.
    assert '(--size 1600)' in advice
    assert new_config(RETINANET, train, val, out, Options(size=1600)).warnings == []


def test_weights_of_the_detector_are_named(splits, tmp_path):
    out = tmp_path / 'own.py'
    report = new_config(RETINANET, *splits, out).report
    assert '--load-from https://download.openmmlab.com/mmdetection/' in report
    new = new_config(RETINANET, *splits, out, Options(load_from='mine.pth'))
    assert "load_from = 'mine.pth'" in new.text
    base = base_with(tmp_path, "load_from = 'theirs.pth'")
    new = new_config(base, *splits, out)
    assert 'load_from=theirs.pth, as in the base' in new.report
    assert 'load_from' not in new.text


def test_without_another_backbone_that_of_the_base_is_frozen(renew, splits, tmp_path):
    cfg = renew(RETINANET, freeze=3, weights='mine.pth')
    assert cfg.model.backbone.type == 'ResNet'
    assert cfg.model.backbone.frozen_stages == 3
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='mine.pth')
    with pytest.raises(UserError, match='has no frozen_stages'):
        new_config('mmdet::ssd/ssd300_coco.py', *splits, tmp_path / 'own.py', Options(freeze=1))


def command(folder, *args, base=RETINANET):
    """Runs ``mmblocks new`` on the squares of a folder."""
    data = ('--train', 'train.json', 'train', '--val', 'val.json', 'val')
    return tool('new', '--base', base, *data, *args, folder=folder)


@pytest.fixture
def squares(tmp_path):
    """A folder with both splits of squares."""
    for name in ('train', 'val'):
        write(tmp_path, square_set(tmp_path, name), name)
    return tmp_path


def test_the_command_says_where_its_results_are_and_what_is_next(squares):
    outcome = command(squares, '--out', 'configs/mine.py')
    assert outcome.code == 0, outcome.out
    assert 'warning: data: train has fewer than 10 objects of 2 classes' in outcome.err
    assert 'written to configs/mine.py, configs/mine_boxes.png\n' in outcome.out
    assert 'next: mmblocks train configs/mine.py\n' in outcome.out
    assert (squares / 'configs' / 'mine_boxes.png').read_bytes().startswith(b'\x89PNG')
    assert load_config(str(squares / 'configs' / 'mine.py')).data_root == ''
    again = command(squares, '--out', 'configs/mine.py')
    assert again.code == 2
    assert again.last_error.endswith('is there already; --force replaces it')


def test_what_training_would_fall_over_ends_the_command_in_one_line(squares):
    content = json.loads((squares / 'train.json').read_text())
    broken = copy.deepcopy(content)
    broken['annotations'][0]['bbox'][2] = float('nan')
    (squares / 'train' / '4.png').unlink()
    write(squares, broken)
    outcome = command(squares)
    assert outcome.code == 2
    assert outcome.last_error == (
        'error: train: 11 of 12 images found; missing: 4.png; put them into train, or take them '
        'out of train.json (2 such problems, all listed above)'
    )
    assert not (squares / 'own.py').exists()


def test_masks_are_wanted_where_the_base_trains_them(squares):
    content = json.loads((squares / 'train.json').read_text())
    for annotation in content['annotations']:
        del annotation['segmentation']
    write(squares, content)
    outcome = command(squares, base='mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    assert outcome.code == 2
    assert (
        '12 annotations (id 1 (0.png), id 2 (1.png), id 3 (2.png), ...) without a usable mask'
        in (outcome.last_error)
    )


def test_completed_annotations_are_written_beside_the_config(squares):
    content = json.loads((squares / 'train.json').read_text())
    for annotation in content['annotations']:
        del annotation['iscrowd']
    write(squares, content)
    outcome = command(squares, '--out', 'mine.py')
    assert outcome.code == 0, outcome.out
    cfg = load_config(str(squares / 'mine.py'))
    assert cfg.train_dataloader.dataset.ann_file == 'mine_train.json'
    assert json.loads((squares / 'train.json').read_text()) == content
    written = json.loads((squares / 'mine_train.json').read_text())
    assert all(annotation['iscrowd'] == 0 for annotation in written['annotations'])


def test_digits_are_own_data_like_any_other(tmp_path):
    scenes = ['--train-scenes', '12', '--val-scenes', '4', '--image-size', '96']
    made = tool('make_digits', 'digits', *scenes, folder=tmp_path)
    assert made.code == 0, made.out
    (tmp_path / 'tiny.py').write_text(CONFIG)
    data = []
    for name in ('train', 'val'):
        data += [f'--{name}', f'digits/annotations/{name}.json', f'digits/{name}']
    made = tool('new', '--base', 'tiny.py', *data, '--epochs', '1', folder=tmp_path)
    assert made.code == 0, made.out
    cfg = load_config(str(tmp_path / 'own.py'))
    assert cfg.model.bbox_head.num_classes == 10
    assert cfg.metainfo.classes == tuple('0123456789')
    trained = tool('train', 'own.py', folder=tmp_path)
    assert trained.code == 0, trained.out[-3000:]
    assert 'coco/bbox_mAP' in trained.metrics('val')


def test_a_detector_learns_to_find_coins(tmp_path):
    write_coins(tmp_path / 'coins')
    (tmp_path / 'tiny.py').write_text(f'{CONFIG}\nauto_scale_lr = dict(base_batch_size=8)\n')
    data = ['--train', 'coins/train.json', 'coins/train']
    data += ['--val', 'coins/val.json', 'coins/val']
    backbone = ['--backbone', 'mmblocks.ShuffleNetV2', '--backbone-options', 'widen_factor=0.5']
    sizes = ['--size', '96', '--batch-size', '4', '--epochs', '30']
    made = tool('new', '--base', 'tiny.py', *backbone, *data, *sizes, folder=tmp_path)
    assert made.code == 0, made.out
    trained = tool('train', 'own.py', folder=tmp_path)
    assert trained.code == 0, trained.out[-3000:]
    # From scratch, from 12 coins; those of val are others.
    assert trained.metrics('val')['coco/bbox_mAP_50'] > 0.3


@pytest.mark.parametrize('name', ["it's", '"quoted"', 'back\\slash', 'Große Möwe', '# no comment'])
def test_any_name_of_a_class_reaches_the_dataset(name, tmp_path):
    train, val = two_splits(tmp_path)
    for split in (train, val):
        split.content['categories'][0]['name'] = name
    out = tmp_path / 'own.py'
    new_config(RETINANET, train, val, out).save(out)
    assert Config.fromfile(out).train_dataloader.dataset.metainfo.classes == (name, 'green')
