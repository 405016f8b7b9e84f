"""What in a config contradicts itself is said before a training begins."""

import pytest

from mmblocks.engine import UserError, load_config
from mmblocks.engine.consistency import check_consistency

CASCADE = 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'
RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
FASTER_RCNN = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
SOFT_TEACHER = 'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'


@pytest.mark.parametrize(
    ('base', 'options', 'expected'),
    [
        (RETINANET, {'model.bbox_head.num_classes': 79}, 'model.bbox_head.num_classes=79, but'),
        (RETINANET, {'model.bbox_head.num_classes': 81}, 'has 80 classes: person, bicycle, car'),
        (CASCADE, {'model.roi_head.bbox_head.1.num_classes': 3}, 'model.roi_head.bbox_head.1.num_'),
        (CASCADE, {'model.roi_head.mask_head.num_classes': 3}, 'model.roi_head.mask_head.num_'),
        (
            'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
            {'model.bbox_head.num_classes': 3},
            'model.bbox_head.num_classes=3, but train_dataloader.dataset has 80',
        ),
        (
            SOFT_TEACHER,
            {'model.detector.roi_head.bbox_head.num_classes': 3},
            'model.detector.roi_head.bbox_head.num_classes=3, but train_dataloader.dataset.data',
        ),
        (
            RETINANET,
            {'val_dataloader.dataset.metainfo.classes': ('cat',)},
            'but val_dataloader.dataset has 1 class: cat',
        ),
        (RETINANET, {'model.neck.num_outs': 4}, 'has 5 strides: [8, 16, 32, 64, 128]'),
        (FASTER_RCNN, {'model.neck.num_outs': 6}, 'model.rpn_head.anchor_generator has 5 strides'),
        (RETINANET, {'default_hooks.checkpoint.interval': 0}, 'must be 1 or more, or -1 for never'),
        (RETINANET, {'default_hooks.logger.interval': 0}, 'default_hooks.logger.interval=0: must'),
        (RETINANET, {'train_cfg.val_interval': 0}, 'train_cfg.val_interval=0: must be 1 or more'),
        (RETINANET, {'optim_wrapper.optimizer.type': 'SDG'}, 'optim_wrapper.optimizer: type=SDG'),
    ],
)
def test_what_contradicts_itself_is_named(base, options, expected):
    with pytest.raises(UserError) as caught:
        check_consistency(load_config(base, options), 'train')
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    'name',
    [
        'albu_example/mask-rcnn_r50_fpn_albu-1x_coco',
        'cityscapes/mask-rcnn_r50_fpn_1x_cityscapes',
        'fsaf/fsaf_r50_fpn_1x_coco',
        'guided_anchoring/ga-faster-rcnn_r50-caffe_fpn_1x_coco',
        'glip/lvis/glip_atss_swin-t_a_fpn_dyhead_pretrain_zeroshot_lvis',
        'htc/htc_r50_fpn_1x_coco',
        'lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1',
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic',
        'ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco',
        'ocsort/ocsort_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-mot17halfval',
        'openimages/faster-rcnn_r50_fpn_32xb2-1x_openimages',
        'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco',
        'pascal_voc/faster-rcnn_r50_fpn_1x_voc0712',
        'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco',
        'reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20',
        'rpn/rpn_r50_fpn_1x_coco',
        'seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_sample1e-3-ms-2x_lvis-v1',
        'sort/sort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval',
        'ssd/ssd300_coco',
        'wider_face/ssd300_8xb32-24e_widerface',
        'yolact/yolact_r50_1xb8-55e_coco',
        'yolox/yolox_tiny_8xb8-300e_coco',
    ],
)
def test_configs_of_mmdet_contradict_themselves_nowhere(name, mmdet_models):
    cfg = load_config(f'mmdet::{name}.py')
    check_consistency(cfg, 'train')
    check_consistency(cfg, 'test')
