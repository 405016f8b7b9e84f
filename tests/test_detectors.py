"""Our parts inside mmdet's detectors, put there by a config."""

import pytest
import torch
from mmengine.config import Config

import mmblocks

DETECTORS = {
    'retinanet': 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'faster-rcnn': 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
}
BACKBONES = {
    'GhostNet': dict(type='GhostNet', width=0.5, frozen_stages=1),
    'ResNet': dict(type='ResNet', depth=18, base_channels=8, frozen_stages=1),
    'ResNetV1d': dict(type='ResNetV1d', depth=50, base_channels=8),
}
NECKS = {
    'retinanet': dict(num_outs=6, top_block=dict(type='LastLevelP6P7', source='on_output')),
    'faster-rcnn': dict(num_outs=5, top_block=dict(type='LastLevelMaxPool')),
}


def detector_config(tmp_path, detector, backbone, prefix):
    """Writes a config as a user would, with ``custom_imports`` and the parts' names."""
    channels = [entry.channels for entry in mmblocks.feature_info(backbone)]
    cfg = dict(backbone, type=prefix + backbone['type'], _delete_=True)
    neck = dict(
        type='mmblocks.FPN', in_channels=channels, out_channels=16, _delete_=True, **NECKS[detector]
    )
    head = (
        dict(
            rpn_head=dict(in_channels=16, feat_channels=16),
            roi_head=dict(
                bbox_roi_extractor=dict(out_channels=16),
                bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=3),
            ),
        )
        if detector == 'faster-rcnn'
        else dict(
            bbox_head=dict(
                in_channels=16,
                feat_channels=16,
                num_classes=3,
                anchor_generator=dict(strides=[4, 8, 16, 32, 64, 128]),
            )
        )
    )
    path = tmp_path / 'config.py'
    path.write_text(
        f"_base_ = '{DETECTORS[detector]}'\n"
        "custom_imports = dict(imports=['mmblocks'], allow_failed_imports=False)\n"
        f'model = {dict(backbone=cfg, neck=neck, **head)!r}\n'
    )
    return Config.fromfile(path)


@pytest.mark.parametrize('detector', DETECTORS)
@pytest.mark.parametrize(
    ('name', 'prefix'), [('GhostNet', ''), ('ResNet', 'mmblocks.'), ('ResNetV1d', 'mmblocks.')]
)
def test_a_detector_trains_and_predicts(detector, name, prefix, tmp_path, mmdet_models):
    from mmdet.testing import demo_mm_inputs
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        model = mmdet_models.build(
            detector_config(tmp_path, detector, BACKBONES[name], prefix).model
        )
    assert type(model.backbone) is getattr(mmblocks, name)
    model.init_weights()
    model.train()
    data = demo_mm_inputs(2, [[3, 128, 128], [3, 125, 110]], num_classes=3)
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, p in trainable.items() if p.grad is None] == []
    assert any(n.startswith('backbone.') for n in trainable)
    model.eval()
    with torch.no_grad():
        results = model(**model.data_preprocessor(data, training=False), mode='predict')
    assert len(results) == 2
    assert all(r.pred_instances.bboxes.shape[1] == 4 for r in results)
