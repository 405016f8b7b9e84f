"""Our parts inside mmdet's detectors, put there by a config."""

import copy
import functools

import pytest
from mmengine.config import Config

import mmblocks
from mmblocks.engine import find_config
from tests.backbones.nets import NETS
from tests.detecting import assert_it_predicts, assert_it_trains, batch, build_detector

NUM_CLASSES = 3
FEW_BOXES = dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7))
P6P7 = dict(type='LastLevelP6P7', source='on_output')
GN = dict(type='GN', num_groups=4)


def anchors(strides):
    return dict(anchor_generator=dict(strides=strides))


def dense_head(**options):
    return dict(in_channels=16, feat_channels=16, num_classes=NUM_CLASSES, **options)


def retinanet(strides):
    neck = dict(num_outs=len(strides) + 2, top_block=P6P7)
    return neck, dict(bbox_head=dense_head(**anchors(extended(strides, 2))))


def fcos(strides):
    # Its head has five ranges of sizes, one per map.
    neck = dict(num_outs=5, add_extra_convs='on_output')
    return neck, dict(
        bbox_head=dense_head(strides=extended(strides, 5 - len(strides)), norm_cfg=GN)
    )


def atss(strides):
    neck = dict(num_outs=len(strides) + 1, add_extra_convs='on_lateral')
    return neck, dict(bbox_head=dense_head(norm_cfg=GN, **anchors(extended(strides, 1))))


def faster_rcnn(strides):
    roi_head = dict(
        bbox_roi_extractor=dict(out_channels=16, featmap_strides=strides),
        bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=NUM_CLASSES),
    )
    heads = dict(
        rpn_head=dict(in_channels=16, feat_channels=16, **anchors(extended(strides, 1))),
        roi_head=roi_head,
        train_cfg=dict(rpn_proposal=FEW_BOXES),
        test_cfg=dict(rpn=FEW_BOXES, rcnn=dict(max_per_img=10)),
    )
    return dict(num_outs=len(strides) + 1, top_block=dict(type='LastLevelMaxPool')), heads


def mask_rcnn(strides):
    neck, heads = faster_rcnn(strides)
    heads['roi_head'] |= dict(
        mask_roi_extractor=dict(out_channels=16, featmap_strides=strides),
        mask_head=dict(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=NUM_CLASSES),
    )
    return neck, heads


def extended(strides, num_extra):
    return [*strides, *(strides[-1] * 2 ** (i + 1) for i in range(num_extra))]


DETECTORS = {
    'retinanet/retinanet_r50_fpn_1x_coco': retinanet,
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco': faster_rcnn,
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco': mask_rcnn,
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco': fcos,
    'atss/atss_r50_fpn_1x_coco': atss,
}


def with_a_map_per_stride(net):
    """A net's config with the outputs that a detector wants: the last of each stride from 4 on."""
    maps = mmblocks.feature_info(dict(net.cfg, out_indices=range(net.num_outputs)))
    last = {info.stride: i for i, info in enumerate(maps) if info.stride >= 4}
    return dict(net.cfg, out_indices=tuple(last.values()))


def detector_parts(base, backbone, prefix='mmblocks.'):
    """Returns what a user's config of a model says beside its base."""
    channels, strides = zip(*mmblocks.feature_info(backbone), strict=True)
    neck, heads = DETECTORS[base](list(strides))
    neck = dict(
        type='mmblocks.FPN', in_channels=list(channels), out_channels=16, _delete_=True, **neck
    )
    backbone = dict(backbone, type=prefix + backbone['type'], _delete_=True)
    return dict(backbone=backbone, neck=neck, **heads)


@functools.cache
def read_base(base):
    return Config.fromfile(find_config(f'mmdet::{base}.py'))


def build_in(base, backbone, mmdet_models):
    """Builds a detector of mmdet with our backbone and neck."""
    cfg = copy.deepcopy(read_base(base))
    cfg.merge_from_dict(dict(model=detector_parts(base, backbone)))
    return build_detector(cfg, mmdet_models)


def write_config(tmp_path, base, backbone, prefix):
    """Writes a config as a user would, with ``custom_imports`` and the parts' names."""
    path = tmp_path / 'config.py'
    path.write_text(
        f"_base_ = 'mmdet::{base}.py'\n"
        "custom_imports = dict(imports=['mmblocks'], allow_failed_imports=False)\n"
        f'model = {detector_parts(base, backbone, prefix)!r}\n'
    )
    return Config.fromfile(path)


@pytest.mark.parametrize('base', DETECTORS, ids=lambda base: base.split('/')[0])
@pytest.mark.parametrize('net', NETS, ids=str)
def test_every_net_trains_and_predicts_in_every_detector(base, net, mmdet_models):
    model = build_in(base, with_a_map_per_stride(net), mmdet_models)
    assert type(model.backbone) is getattr(mmblocks, net.cfg['type'])
    data = batch(NUM_CLASSES, with_mask=base.startswith('mask'))
    assert_it_trains(model, data)
    assert_it_predicts(model, data)


@pytest.mark.parametrize('prefix', ['', 'mmblocks.'])
def test_a_frozen_start_gets_no_gradient_and_the_rest_does(prefix, tmp_path, mmdet_models):
    backbone = dict(type='GhostNet', widen_factor=0.25, frozen_stages=1)
    base = 'retinanet/retinanet_r50_fpn_1x_coco'
    model = build_detector(write_config(tmp_path, base, backbone, prefix), mmdet_models)
    assert type(model.backbone) is mmblocks.GhostNet
    model.init_weights()
    assert_it_trains(model, batch(NUM_CLASSES))
    frozen = {name for name, p in model.backbone.named_parameters() if not p.requires_grad}
    assert frozen
    assert {name.split('.')[0] for name in frozen} == {'conv_stem', 'bn1', 'blocks'}
    assert all(p.grad is None for p in model.backbone.parameters() if not p.requires_grad)
