"""Detectors of two stages in onnxruntime: the regions that RoIAlign takes, and masks."""

import pytest
import torch
from mmengine.config import Config

from mmblocks.export.export import Settings, verify, write
from mmblocks.export.images import random_images
from mmblocks.export.runtime import OnnxFile
from tests.export.test_fixed_size import finding


@pytest.mark.slow
def test_mask_rcnn_finds_the_same_boxes_and_masks(tmp_path, mmdet_models):
    cfg = Config(dict(model=dict(type='MaskRCNN', test_cfg=dict(rcnn=dict(score_thr=0.05)))))
    cfg.model.test_cfg.rcnn.max_per_img = 10
    model = finding('mask_rcnn/mask-rcnn_r50_fpn_1x_coco', mmdet_models)
    path, images = tmp_path / 'mask.onnx', random_images(1, (96, 128))
    write(cfg, model, (96, 128), Settings(), path)
    said = verify(cfg, model, images, path, Settings())
    assert said.startswith('10 detections compared')
    *_, masks = OnnxFile(path).run(images[0][None])
    assert masks.shape == (1, 10, 96, 128)
    with torch.no_grad():
        (result,) = model.test_step(dict(inputs=images, data_samples=[sample()]))
    wanted = result.pred_instances.masks.numpy()
    assert wanted.any()
    assert (masks[0] == wanted).mean() > 0.999


def sample():
    from mmblocks.export.graph import image_sample

    return image_sample((96, 128), (96, 128))
