"""Whole detectors in their inference form predict what they predict."""

import copy

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.testing import assert_close

from mmblocks import to_inference
from tests.backbones.nets import NETS
from tests.detecting import batch, build_detector
from tests.parity import randomise
from tests.test_detectors import NUM_CLASSES, build_in, read_base, with_a_map_per_stride

# Of mmdet alone, backbones, necks and heads.
SMALL = {
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': dict(
        backbone=dict(widen_factor=0.125, init_cfg=None),
        neck=dict(in_channels=[32, 64, 128], out_channels=16),
        bbox_head=dict(in_channels=16, feat_channels=16, num_classes=NUM_CLASSES),
        # Boxes of weights that mean nothing may be inside out.
        test_cfg=dict(min_bbox_size=-1),
    ),
    'yolox/yolox_tiny_8xb8-300e_coco': dict(
        backbone=dict(widen_factor=0.125),
        neck=dict(in_channels=[32, 64, 128], out_channels=16),
        bbox_head=dict(in_channels=16, feat_channels=16, num_classes=NUM_CLASSES),
    ),
    'detr/detr_r50_8xb2-150e_coco': dict(
        backbone=dict(depth=18, base_channels=8, init_cfg=None),
        neck=dict(in_channels=[64]),
        encoder=dict(num_layers=1),
        decoder=dict(num_layers=1),
        bbox_head=dict(num_classes=NUM_CLASSES),
    ),
}
OURS = (
    'retinanet/retinanet_r50_fpn_1x_coco',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
)


def build(base, mmdet_models):
    if base in OURS:
        return build_in(base, with_a_map_per_stride(NETS[0]), mmdet_models)
    cfg = copy.deepcopy(read_base(base))
    cfg.merge_from_dict(dict(model=SMALL[base]))
    return build_detector(cfg, mmdet_models)


def predict(model, data):
    with torch.no_grad():
        results = model(**model.data_preprocessor(copy.deepcopy(data)), mode='predict')
    return [result.pred_instances for result in results]


@pytest.mark.parametrize('base', [*OURS, *SMALL], ids=lambda base: base.split('/')[0])
def test_a_detector_predicts_the_same(base, mmdet_models):
    model = randomise(build(base, mmdet_models)).eval()
    fast = to_inference(model)
    assert type(fast) is type(model)
    assert not any(isinstance(part, _BatchNorm) for part in fast.modules())
    data = batch(NUM_CLASSES)
    for found, expected in zip(predict(fast, data), predict(model, data), strict=True):
        assert len(found.scores) == len(expected.scores) > 0
        assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
        assert_close(found.bboxes, expected.bboxes, rtol=1e-3, atol=1e-2)
        assert torch.equal(found.labels, expected.labels)
