"""``tools/swap_backbone.py``: another backbone for any config of mmdet."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

import mmblocks
from mmblocks.cli.swap import main
from mmblocks.engine import UserError, find_config, load_config
from mmblocks.swap import swap_backbone
from mmblocks.swap.detector import Strides, find_detector
from mmblocks.swap.text import assignment
from tests.detecting import assert_it_predicts, assert_it_trains, batch, build_detector

ROOT = Path(__file__).resolve().parents[1]
RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
FASTER_RCNN = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
FCOS_CAFFE = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'

MOBILENET = dict(type='mmblocks.MobileNetV3', arch='small')
SHUFFLENET = dict(type='mmblocks.ShuffleNetV2', widen_factor=0.5)
GHOSTNET = dict(type='mmblocks.GhostNet', widen_factor=0.5)
WEIGHTS = dict(type='Pretrained', checkpoint='x.pth')
RESNET = dict(type='mmblocks.ResNet', depth=18)


def loaded(swap, folder):
    path = folder / 'swapped.py'
    path.write_text(swap.text)
    return Config.fromfile(path)


def write_base(folder, text, base=RETINANET):
    path = folder / 'base.py'
    path.write_text(f'_base_ = {base!r}\n{text}\n')
    return str(path)


@pytest.mark.parametrize(
    ('base', 'backbone'),
    [
        (RETINANET, SHUFFLENET),
        (FASTER_RCNN, GHOSTNET),
        ('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', MOBILENET),
        (FCOS_CAFFE, SHUFFLENET),
        ('mmdet::atss/atss_r50_fpn_1x_coco.py', RESNET),
        ('mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py', MOBILENET),
        ('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', SHUFFLENET),
        ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', GHOSTNET),
        ('mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', SHUFFLENET),
        ('mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py', MOBILENET),
    ],
    ids=lambda value: value.split('/')[1].split('_')[0] if '::' in value else value['type'][9:],
)
def test_the_swapped_detector_trains_and_predicts(base, backbone, tmp_path, mmdet_models):
    cfg = loaded(swap_backbone(base, backbone), tmp_path)
    if 'roi_head' in cfg.model:
        cfg.model.train_cfg.rpn_proposal.max_per_img = 50
        cfg.model.test_cfg.rpn.max_per_img = 20
    model = build_detector(cfg, mmdet_models)
    model.init_weights()  # before that, some of a DETR's parameters are whatever was in memory
    assert type(model.backbone) is getattr(mmblocks, backbone['type'].removeprefix('mmblocks.'))
    data = batch(80, with_mask='mask-rcnn' in base, shapes=[(3, 128, 128), (3, 128, 96)])
    assert_it_trains(model, data)
    assert_it_predicts(model, data)


def test_the_config_inherits_and_overrides_only_backbone_and_neck():
    swap = swap_backbone(RETINANET, dict(MOBILENET, frozen_stages=2, init_cfg=WEIGHTS))
    assert swap.text.splitlines()[1:] == [
        f"_base_ = '{RETINANET}'",
        "custom_imports = dict(imports=['mmblocks'])",
        'model = dict(',
        '    backbone=dict(',
        '        _delete_=True,',
        "        type='mmblocks.MobileNetV3',",
        "        arch='small',",
        '        frozen_stages=2,',
        "        init_cfg=dict(type='Pretrained', checkpoint='x.pth'),",
        '    ),',
        '    # For maps of strides 4, 8, 16 and 32.',
        '    neck=dict(in_channels=[16, 24, 48, 576]),',
        ')',
    ]


def test_a_name_without_the_prefix_is_enough():
    bare = dict(MOBILENET, type='MobileNetV3')
    assert swap_backbone(RETINANET, bare).text == swap_backbone(RETINANET, MOBILENET).text


def test_a_config_that_is_given_is_not_changed():
    given = dict(type='MobileNetV3', norm_cfg=dict(type='BN'), frozen_stages=-1)
    swap_backbone(RETINANET, given)
    assert given == dict(type='MobileNetV3', norm_cfg=dict(type='BN'), frozen_stages=-1)


def test_a_base_that_is_a_path_is_written_relative_to_the_new_file(tmp_path):
    base = write_base(tmp_path, '')
    folder = tmp_path / 'far' / 'away'
    folder.mkdir(parents=True)
    swap = swap_backbone(base, MOBILENET, folder)
    assert "_base_ = '../../base.py'" in swap.text
    assert loaded(swap, folder).model.backbone.type == 'mmblocks.MobileNetV3'
    assert "_base_ = './base.py'" in swap_backbone(base, MOBILENET, tmp_path).text


def test_imports_of_the_base_are_kept(tmp_path):
    text = "custom_imports = dict(imports=['json', 'csv'], allow_failed_imports=True)"
    base = write_base(tmp_path, text)
    cfg = loaded(swap_backbone(base, MOBILENET, tmp_path), tmp_path)
    assert cfg.custom_imports == dict(
        imports=['json', 'csv', 'mmblocks'], allow_failed_imports=True
    )
    again = swap_backbone(str(tmp_path / 'swapped.py'), GHOSTNET, tmp_path)
    assert "imports=['json', 'csv', 'mmblocks']" in again.text


def test_a_swapped_config_can_be_swapped_again(tmp_path):
    loaded(swap_backbone(RETINANET, SHUFFLENET, tmp_path), tmp_path)
    again = swap_backbone(str(tmp_path / 'swapped.py'), RESNET, tmp_path)
    assert 'out_indices=(1, 2, 3)' in again.text
    assert 'neck=dict(in_channels=[128, 256, 512])' in again.text


@pytest.mark.parametrize(
    ('base', 'backbone', 'out_indices', 'neck'),
    [
        # The default outputs fit.
        (FASTER_RCNN, GHOSTNET, None, dict(in_channels=[12, 20, 56, 80])),
        # Of the default outputs, those that are wanted.
        (
            'mmdet::yolox/yolox_s_8xb8-300e_coco.py',
            GHOSTNET,
            (4, 6, 8),
            dict(in_channels=[20, 56, 80]),
        ),
        # Coarsest map first, as YOLOv3's neck counts.
        (
            'mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py',
            RESNET,
            (1, 2, 3),
            dict(in_channels=[512, 256, 128]),
        ),
        # One number, for the last map.
        ('mmdet::yolof/yolof_r50-c5_8xb8-1x_coco.py', RESNET, (3,), dict(in_channels=512)),
        # The last group of each stride; the neck's first input, which it skips, is not there.
        (RETINANET, SHUFFLENET, (0, 1, 3), dict(in_channels=[48, 96, 1024], start_level=0)),
        # The user's own choice.
        (
            RETINANET,
            dict(SHUFFLENET, out_indices=[0, 1, 2]),
            (0, 1, 2),
            dict(in_channels=[48, 96, 192], start_level=0),
        ),
    ],
)
def test_outputs_are_chosen_by_the_strides_of_the_old_ones(
    base, backbone, out_indices, neck, tmp_path
):
    old = Config.fromfile(find_config(base)).model.neck
    model = loaded(swap_backbone(base, backbone), tmp_path).model
    assert model.backbone.get('out_indices') == out_indices
    assert {key: value for key, value in model.neck.items() if old.get(key) != value} == neck


def test_the_last_level_of_a_neck_moves_with_the_first(tmp_path):
    base = write_base(tmp_path, 'model = dict(neck=dict(end_level=3))')
    neck = loaded(swap_backbone(base, SHUFFLENET, tmp_path), tmp_path).model.neck
    assert (neck.start_level, neck.end_level) == (0, 2)


def test_a_list_of_necks_is_written_whole(tmp_path):
    base = 'mmdet::libra_rcnn/libra-retinanet_r50_fpn_1x_coco.py'
    first, second = loaded(swap_backbone(base, MOBILENET), tmp_path).model.neck
    old_first, old_second = Config.fromfile(find_config(base)).model.neck
    assert first == dict(old_first, in_channels=[16, 24, 48, 576])
    assert second == old_second


def test_a_head_that_takes_the_maps_itself_gets_their_channels(tmp_path):
    base = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
    model = loaded(swap_backbone(base, MOBILENET), tmp_path).model
    assert model.panoptic_head.in_channels == [16, 24, 48, 576]


def test_the_detector_inside_a_tracker_or_a_semi_supervised_one_is_found(tmp_path):
    base = 'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
    model = loaded(swap_backbone(base, MOBILENET), tmp_path).model
    assert model.type == 'SoftTeacher'
    assert model.detector.backbone == MOBILENET
    assert model.detector.neck.in_channels == [16, 24, 48, 576]


@pytest.mark.parametrize(
    'base',
    [
        *('ssd/ssd300_coco', 'ssd/ssd512_coco', 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco'),
        *('pisa/ssd512_pisa_coco', 'pascal_voc/ssd300_voc0712'),
    ],
)
def test_what_ssds_neck_passes_on_is_written_for_its_head_too(base, tmp_path):
    base = f'mmdet::{base}.py'
    old = Config.fromfile(find_config(base)).model
    swap = swap_backbone(base, MOBILENET)
    new = loaded(swap, tmp_path).model
    # MobileNetV3's maps at strides 8 and 16, or 16 and 32.
    channels = [48, 576] if 'ssdlite' in base else [24, 48]
    assert new.neck.in_channels == channels
    assert new.neck.out_channels == [*channels, *old.neck.out_channels[2:]]
    assert new.bbox_head == dict(old.bbox_head, in_channels=new.neck.out_channels)
    heads = swap.report[swap.report.index('heads ') :].splitlines()
    assert heads[0].split()[:2] == ['heads', 'bbox_head.in_channels']
    assert heads[1].endswith(': unchanged, not the strides of the maps, as in the base')


@pytest.mark.parametrize(
    ('base', 'size'), [('ssd300_coco', 300), ('ssdlite_mobilenetv2-scratch_8xb24-600e_coco', 320)]
)
def test_a_swapped_ssd_trains(base, size, tmp_path, mmdet_models):
    """Its predictions are left alone: the head of mmdet 3.3.0 cannot give any."""
    cfg = loaded(swap_backbone(f'mmdet::ssd/{base}.py', SHUFFLENET), tmp_path)
    model = build_detector(cfg, mmdet_models)
    model.init_weights()  # the norm of its neck starts from whatever is in memory
    assert_it_trains(model, batch(80, shapes=[(3, size, size)] * 2))


def test_the_strides_of_heads_are_those_of_the_first_maps():
    for values, maps, fits in (
        ((8, 16), (8, 16), True),
        ((8, 16), (8, 16, 32), True),
        ((8, 16), (16, 32), False),
        ((8, 16, 32), (8, 16), False),
    ):
        assert Strides((), values).fit(maps) is fits


DEEPSORT = 'mmdet::deepsort/deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17train_test-mot17test.py'


def test_of_several_backbones_the_one_that_is_named_is_swapped(tmp_path):
    with pytest.raises(UserError, match=r'model\.reid\.backbone; say which with --at model\.det'):
        swap_backbone(DEEPSORT, MOBILENET)
    old = Config.fromfile(find_config(DEEPSORT)).model
    model = loaded(swap_backbone(DEEPSORT, MOBILENET, at='model.detector'), tmp_path).model
    assert model.detector.backbone == MOBILENET
    assert model.reid.to_dict() == old.reid.to_dict()
    for at, expected in (
        ('model.reid', 'is a BaseReID'),
        ('model.tracker', 'accepted is model.detector, model.reid'),
    ):
        with pytest.raises(UserError, match=expected):
            swap_backbone(DEEPSORT, MOBILENET, at=at)


def test_the_configs_of_mmdet_with_several_backbones_are_known():
    """Each is a tracker with a net that tells objects apart; --at model.detector is for them."""
    known = [
        'deepsort/deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py',
        'deepsort/deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17train_test-mot17test.py',
        'strongsort/strongsort_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval.py',
        'strongsort/strongsort_yolox_x_8xb4-80e_crowdhuman-mot20train_test-mot20test.py',
    ]
    folder = find_config(RETINANET).parents[1]
    several = []
    for name in ('deepsort', 'soft_teacher', 'sort', 'strongsort', 'lad', 'ld', 'qdtrack'):
        for path in sorted((folder / name).glob('*.py')):
            try:
                find_detector(load_config(str(path)).model.to_dict())
            except UserError as error:
                if '--at' in str(error):  # and no config that mmdet itself cannot read
                    several.append(str(path.relative_to(folder)))
    assert several == known


def test_a_base_that_would_fetch_weights_while_it_is_built_fetches_none(tmp_path, monkeypatch):
    """As timm's nets do, which take pretrained=True."""
    built = []

    class Fetching(mmblocks.ResNet):
        def __init__(self, pretrained=False, **options):
            assert not pretrained
            built.append(1)
            super().__init__(**options)

    monkeypatch.setitem(MODELS.module_dict, 'Fetching', Fetching)
    net = dict(_delete_=True, type='mmengine.Fetching', depth=50, pretrained=True)
    base = write_base(tmp_path, f'model = dict(backbone={net})')
    swap_backbone(base, MOBILENET, tmp_path)
    assert len(built) == 1


def test_the_report_says_what_changed():
    swap = swap_backbone(RETINANET, dict(SHUFFLENET, frozen_stages=0))
    lines = swap.report.splitlines()
    assert [' '.join(line.split()) for line in lines if 'ResNet(' not in line] == [
        f'base {RETINANET} (RetinaNet)',
        '-> mmblocks.ShuffleNetV2(widen_factor=0.5, out_indices=(0, 1, 3), frozen_stages=0)',
        'channels 256, 512, 1024, 2048 -> 48, 96, 1024',
        'strides 4, 8, 16, 32 -> 8, 16, 32; the neck did not use the others',
        'neck FPN: in_channels [256, 512, 1024, 2048] -> [48, 96, 1024], start_level 1 -> 0',
        'gives 5 of 256 channels with strides 8, 16, 32, 64, 128, unchanged',
        'heads bbox_head.anchor_generator.strides 8, 16, 32, 64, 128: unchanged, fits the maps',
        # torchvision's resnet50 has 25,557,032 with the classifier's 2,049,000, and
        # shufflenet_v2_x0_5 1,366,792 with its 1,025,000.
        'parameters 23.51 M -> 0.34 M (backbone)',
        # The convolutions and norms of ResNet-50's stem and first stage; and of our stem.
        f'frozen {3 * 24 * 9 + 48} parameters (frozen_stages=0), '
        'was 225,344 parameters (frozen_stages=1)',
        'norm_eval False, was True',
        'weights none, was torchvision://resnet50',
    ]


def test_a_backbone_without_weights_learns_all_of_itself(tmp_path):
    # mmdet's default keeps every BatchNorm of a ResNet off.
    swap = swap_backbone(RETINANET, RESNET)
    options = loaded(swap, tmp_path).model.backbone
    assert options == dict(RESNET, frozen_stages=-1, norm_eval=False)
    assert re.search(r'^norm_eval +False, was True$', swap.report, re.MULTILINE)
    assert '# Trains from scratch, its BatchNorms too, until an init_cfg names' in swap.text
    for given in (dict(init_cfg=WEIGHTS), dict(norm_eval=True)):
        swap = swap_backbone(RETINANET, RESNET | given)
        assert loaded(swap, tmp_path).model.backbone == RESNET | given
        assert 'norm_eval  ' not in swap.report


def test_weights_that_are_not_loaded_yet_are_not_missed(log):
    # mmcv's deformable convolutions do not run on the meta device.
    deformable = dict(dcn=dict(type='DCN'), stage_with_dcn=(False, False, False, True))
    for options in ({}, deformable):
        swap = swap_backbone(RETINANET, RESNET | options | dict(frozen_stages=1, init_cfg=WEIGHTS))
        assert swap.warnings == []
    assert [record.message for record in log.records if record.levelname == 'WARNING'] == []


@pytest.mark.parametrize(
    ('base', 'backbone', 'text', 'expected'),
    [
        (RETINANET, dict(RESNET, norm_eval=True), '', r'norm_eval=True without weights'),
        (RETINANET, dict(MOBILENET, frozen_stages=1), '', r'frozen at random values'),
        (RETINANET, MOBILENET, "load_from = 'r50.pth'", r"load_from='r50\.pth'"),
        (
            FCOS_CAFFE,
            dict(MOBILENET, init_cfg=WEIGHTS),
            '',
            r'images as BGR with mean 102\.98, .*hold that against the new weights',
        ),
        (
            RETINANET,
            MOBILENET,
            "optim_wrapper = dict(constructor='LearningRateDecayOptimizerConstructor')",
            r'optim_wrapper\.constructor',
        ),
    ],
)
def test_what_may_go_wrong_in_training_is_warned_of(base, backbone, text, expected, tmp_path):
    (warning,) = swap_backbone(write_base(tmp_path, text, base), backbone, tmp_path).warnings
    assert re.search(expected, warning)


def test_what_is_in_order_is_not_warned_of():
    assert swap_backbone(RETINANET, dict(MOBILENET, init_cfg=WEIGHTS)).warnings == []
    assert swap_backbone(FCOS_CAFFE, MOBILENET).warnings == []


def starting_from(checkpoint):
    return dict(RESNET, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))


def test_weights_of_caffes_convention_ask_for_its_style():
    weights = dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet50_caffe')
    net = dict(type='mmblocks.ResNet', depth=50, init_cfg=weights)
    (warning,) = swap_backbone(RETINANET, net).warnings
    assert 'style=caffe' in warning
    assert swap_backbone(RETINANET, dict(net, style='caffe')).warnings == []
    assert swap_backbone(RETINANET, dict(net, depth=18)).warnings == []


SOFT_TEACHER = 'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
RGB = [[123.675, 116.28, 103.53], [58.395, 57.12, 57.375], True]
BGR = [[103.53, 116.28, 123.675], [1.0, 1.0, 1.0], False]


@pytest.mark.parametrize(
    ('base', 'checkpoint', 'images', 'differing'),
    [
        (FCOS_CAFFE, 'torchvision://resnet18', RGB, 'mean, std and channel order'),
        (RETINANET, 'open-mmlab://detectron2/resnet50_caffe', BGR, 'mean, std and channel order'),
        (RETINANET, 'torchvision://googlenet', [[127.5] * 3, [127.5] * 3, True], 'mean and std'),
        # Bases that do not normalise, and that divide by the deviation but keep BGR.
        ('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', 'open-mmlab://resnet18_v1c', RGB, 'mean, '),
        ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 'mmcls://resnet18', RGB, 'mean, std and'),
    ],
)
def test_known_weights_get_the_images_that_they_were_trained_on(
    base, checkpoint, images, differing, tmp_path
):
    swap = swap_backbone(base, starting_from(checkpoint))
    old = Config.fromfile(find_config(base)).model.data_preprocessor
    mean, std, bgr_to_rgb = images
    changed = dict(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb)
    assert loaded(swap, tmp_path).model.data_preprocessor == dict(old, **changed)
    assert f'# What the weights were trained on; the base has another {differing}' in swap.text
    *_, before, after = map(str.split, swap.report.splitlines())
    assert (before[0], after[0]) == ('images', '->')
    assert after[1] == ('RGB' if bgr_to_rgb else 'BGR')
    assert swap.warnings == []


@pytest.mark.parametrize(
    ('base', 'checkpoint', 'said'),
    [
        (RETINANET, 'torchvision://resnet18', '57.375, unchanged'),
        # The same but for the last digits.
        (FCOS_CAFFE, 'open-mmlab://detectron2/resnet50_caffe', 'std 1, unchanged'),
        (RETINANET, 'x.pth', 'unchanged; not known how the weights were trained'),
    ],
)
def test_images_that_are_right_or_may_be_stay(base, checkpoint, said):
    swap = swap_backbone(base, starting_from(checkpoint))
    assert 'data_preprocessor' not in swap.text
    *_, line = swap.report.splitlines()
    assert line.startswith('images ')
    assert line.endswith(said)


def test_without_weights_nothing_is_said_of_images():
    assert 'images' not in swap_backbone(FCOS_CAFFE, RESNET).report
    assert 'data_preprocessor' not in swap_backbone(FCOS_CAFFE, RESNET).text


def test_both_data_preprocessors_of_a_semi_supervised_detector_change(tmp_path, mmdet_models):
    cfg = loaded(swap_backbone(SOFT_TEACHER, starting_from('torchvision://resnet18')), tmp_path)
    outer, inner = cfg.model.data_preprocessor, cfg.model.detector.data_preprocessor
    assert outer.type == 'MultiBranchDataPreprocessor'
    for part in (outer.data_preprocessor, inner):
        assert [part.mean, part.std, part.bgr_to_rgb] == RGB
    cfg.model.detector.backbone.init_cfg = None
    built = build_detector(cfg, mmdet_models).data_preprocessor.data_preprocessor
    assert built.mean.flatten().tolist() == pytest.approx(RGB[0])


def test_a_base_that_turns_rgb_round_is_turned_back(tmp_path):
    text = 'model = dict(data_preprocessor=dict(bgr_to_rgb=False, rgb_to_bgr=True, std=[1.0]))'
    base = write_base(tmp_path, text)
    cfg = loaded(swap_backbone(base, starting_from('torchvision://resnet18'), tmp_path), tmp_path)
    part = cfg.model.data_preprocessor
    assert [part.mean, part.std, part.bgr_to_rgb, part.rgb_to_bgr] == [*RGB, False]


def test_a_base_that_normalises_in_its_pipeline_is_warned_of(tmp_path):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Normalize', mean=[0], std=[1])]
    text = (
        'model = dict(data_preprocessor=dict(mean=None, std=None))\n'
        f'train_dataloader = dict(dataset=dict(pipeline={pipeline}))'
    )
    base = write_base(tmp_path, text)
    swap = swap_backbone(base, starting_from('torchvision://googlenet'), tmp_path)
    assert 'data_preprocessor' not in swap.text
    (warning,) = swap.warnings
    assert 'torchvision://googlenet expects images as RGB with mean 127.5 and std 127.5' in warning


def test_grey_images_are_left_alone():
    grey = dict(starting_from('torchvision://googlenet'), in_channels=1)
    assert 'data_preprocessor' not in swap_backbone(RETINANET, grey).text


@pytest.mark.parametrize(
    ('backbone', 'expected'),
    [
        (dict(type='mmblocks.MobileNetV5'), r'GhostNet, .*did you mean MobileNetV4'),
        (dict(type='ghostnet'), r'did you mean GhostNet\?'),
        (dict(type='mmdet.ResNet', depth=50), r'--backbone mmdet\.ResNet: mmblocks has AlexNet, '),
        (dict(type='ResNet'), r'ResNet needs depth: --backbone-options depth='),
        (dict(type='ResNet', deph=50), r'ResNet has no deph; it accepts depth, .*mean depth\?'),
        (dict(type='ResNetV1d', depth=18, base=8), r'no base; it accepts depth, .*base_channels'),
        (dict(type='ResNetV1d', depth=18, avg_down=True), r'sets avg_down by itself'),
        (dict(type='ResNet', depth=51), r'mmblocks\.ResNet: depth=51: must be one of'),
        (dict(MOBILENET, frozen_stages=13), r'frozen_stages=13 .*from -1 .* to 12'),
        (dict(RESNET, out_indices=(0, 4)), r'out_indices=\(0, 4\).*there is no output 4'),
        (
            dict(RESNET, out_indices=(0, 1, 2)),
            r'out_indices=\(0, 1, 2\) has maps of strides 4, 8, 16, but the neck \(FPN\) of the '
            r'base takes 4 of strides 4, 8, 16, 32.*leave out_indices out',
        ),
        (SHUFFLENET, r'has maps of strides 8, 16, 32, .*start_level=1.*backbone with stride 4'),
    ],
    ids=lambda value: '' if isinstance(value, str) else None,
)
def test_a_backbone_that_cannot_work_is_explained(backbone, expected):
    with pytest.raises(UserError, match=expected):
        swap_backbone(FASTER_RCNN, backbone)


@pytest.mark.parametrize(
    ('base', 'expected'),
    [
        ('mmdet::retinanet/retinanet_r50_fpm_1x_coco.py', r'not found.*retinanet_r50_fpn_1x_coco'),
        ('nowhere.py', r'config not found: nowhere\.py'),
        ('mmdet::_base_/datasets/coco_detection.py', r'has no "model"'),
        ('mmdet::faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco.py', r'no neck.*with a neck'),
        (
            'mmdet::legacy_1.x/ssd300_coco_v1.py',
            r'path of the file: .*/ssd300_coco_v1\.py',
        ),
        (
            'mmdet::reid/reid_r50_8xb32-6e_mot15train80_test-mot15val20.py',
            r'model of the base is a BaseReID: it tells objects apart and detects none',
        ),
    ],
)
def test_a_base_that_cannot_be_swapped_is_explained(base, expected):
    with pytest.raises(UserError, match=expected):
        swap_backbone(base, RESNET)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('model = dict(backbone=dict(_delete_=True))', r'must have one backbone.*found: none'),
        (
            "model = dict(backbone=None, teacher=dict(type='A', backbone=dict(type='B')), "
            "student=dict(type='A', backbone=dict(type='B')))",
            r'found: model\.teacher\.backbone, model\.student\.backbone; say which with --at model',
        ),
        (
            'model = dict(neck=dict(in_channels=[1, 2, 3, 4]))',
            r"256, .*'in_channels': \[1, 2, 3, 4\]",
        ),
        ("model = dict(backbone=dict(type='Resnet'))", r'backbone Resnet cannot be run: .*Resnet'),
        (
            'model = dict(backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)))',
            r'strides 4, 8, 16, 16.*its backbone is dilated; see the options dilations',
        ),
    ],
)
def test_a_base_that_is_odd_is_explained(text, expected, tmp_path):
    with pytest.raises(UserError, match=expected):
        swap_backbone(write_base(tmp_path, text, FASTER_RCNN), RESNET)


def test_a_dilated_base_takes_a_dilated_backbone(tmp_path):
    dilated = dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    base = write_base(tmp_path, f'model = dict(backbone={dilated})', FASTER_RCNN)
    swap = swap_backbone(base, dict(RESNET, **dilated), tmp_path)
    assert 'in_channels=[64, 128, 256, 512]' in swap.text
    assert '4, 8, 16, 16, unchanged' in swap.report


@pytest.fixture
def run_tool(run_command):
    """Runs the tool in this process; gives its exit code and what it printed."""
    return functools.partial(run_command, main, 'swap_backbone.py')


def test_without_out_the_tool_prints_the_config_alone_to_stdout(run_tool):
    options = ('--backbone-options', 'arch=small', 'norm_cfg.type=SyncBN')
    code, out, err = run_tool(RETINANET, '--backbone', 'mmblocks.MobileNetV3', *options)
    assert code == 0
    backbone = dict(MOBILENET, norm_cfg=dict(type='SyncBN'))
    assert out == swap_backbone(RETINANET, backbone).text
    assert 'ResNet(depth=50' in err


def test_with_out_the_tool_writes_a_config_that_loads(run_tool, tmp_path, log):
    out_file = tmp_path / 'new' / 'my.py'
    args = (RETINANET, '--backbone', 'ResNet', '--backbone-options', 'depth=18')
    args += ('out_indices=1,2,3', '--freeze', 2, '--checkpoint', 'x.pth', '--out', out_file)
    code, out, _ = run_tool(*args, '--checkpoint-prefix', 'backbone.')
    assert code == 0
    assert f'written to {out_file}' in out
    assert [record.message for record in log.records if record.levelname == 'WARNING'] == []
    cfg = Config.fromfile(out_file)
    assert cfg.model.backbone == dict(
        type='mmblocks.ResNet',
        depth=18,
        out_indices=(1, 2, 3),
        frozen_stages=2,
        init_cfg=dict(type='Pretrained', checkpoint='x.pth', prefix='backbone.'),
    )
    assert cfg.model.bbox_head.type == 'RetinaHead'

    before = out_file.read_text()
    code, _, err = run_tool(*args)
    assert (code, out_file.read_text()) == (2, before)
    assert 'is there already; --force replaces it' in err
    code, _, _ = run_tool(*args, '--force')
    assert code == 0
    assert 'prefix' not in out_file.read_text()


@pytest.mark.parametrize(
    ('args', 'expected'),
    [
        (['--backbone', 'MobileNetV5'], r'^error: --backbone MobileNetV5: mmblocks has .*\n$'),
        (['--backbone', 'ResNet', '--backbone-options', 'depth'], r'takes KEY=VALUE pairs'),
        (['--backbone', 'ResNet', '--freeze', 'two'], r'--freeze: invalid int value'),
        (
            ['--backbone', 'GhostNet', '--freeze', '1', '--backbone-options', 'frozen_stages=2'],
            r'--freeze and --backbone-options frozen_stages=... say the same',
        ),
        (['--backbone', 'GhostNet', '--checkpoint-prefix', 'a.'], r'without --checkpoint'),
        (['--backbone', 'GhostNet', '--out', 'my.yaml'], r'--out must end in \.py'),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(args, expected, run_tool):
    code, out, err = run_tool(RETINANET, *args)
    assert (code, out) == (2, '')
    assert re.search(expected, err)


def test_the_base_itself_is_never_replaced(run_tool, tmp_path):
    base = write_base(tmp_path, '')
    args = (base, '--backbone', 'GhostNet', '--out', base, '--force')
    code, _, err = run_tool(*args)
    assert code == 2
    assert 'is the base itself' in err


def test_the_script_runs(tmp_path):
    result = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'swap_backbone.py', RETINANET, '--backbone', 'GhostNet'],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    path = tmp_path / 'swapped.py'
    path.write_text(result.stdout)
    assert Config.fromfile(path).model.backbone.type == 'mmblocks.GhostNet'


def test_a_config_is_written_as_the_formatter_would():
    value = dict(
        plain=dict(type='BN', eps=1e-05, at=(0,), none=None),
        keys={'a-b': 1, 2: [3]},
        empty=[dict(), [], ()],
        long=[
            dict(cfg=dict(type='ContextBlock', ratio=1 / 16), stages=(False, True)) for _ in 'ab'
        ],
    )
    text = assignment('model', value, {('plain',): 'A word.'}) + '\n'
    formatted = subprocess.run(
        [sys.executable, '-m', 'ruff', 'format', '--stdin-filename', ROOT / 'x.py', '-'],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert formatted == text
    names = {}
    exec(text, names)
    assert names['model'] == value
    assert '    # A word.\n    plain=dict(' in text
