"""Which detectors of mmdet export, and whether onnxruntime finds the same boxes.

    python benchmarks/exports.py [NAME ...]

Takes one config of mmdet per detector, with random weights that find something, and prints a row of
the table in docs/export.md for each.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from mmblocks.engine import load_config
from mmblocks.engine.data import scope_of
from mmblocks.export.detector import mend_ssd, set_limits
from mmblocks.export.export import Settings, verify, write
from mmblocks.export.images import random_images
from mmblocks.utils.errors import UserError, first_line

DETECTORS = {
    'RetinaNet': 'retinanet/retinanet_r18_fpn_1x_coco',
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
    'ATSS': 'atss/atss_r50_fpn_1x_coco',
    'GFL': 'gfl/gfl_r50_fpn_1x_coco',
    'RTMDet': 'rtmdet/rtmdet_tiny_8xb32-300e_coco',
    'YOLOX': 'yolox/yolox_tiny_8xb8-300e_coco',
    'SSD': 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco',
    'SSD-VGG': 'ssd/ssd300_coco',
    'Faster R-CNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'Cascade R-CNN': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco',
    'Mask R-CNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    'DETR': 'detr/detr_r50_8xb2-150e_coco',
    'Conditional DETR': 'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
    'DAB-DETR': 'dab_detr/dab-detr_r50_8xb2-50e_coco',
    'Deformable DETR': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
    'DINO': 'dino/dino-4scale_r50_8xb2-12e_coco',
    'YOLOv3': 'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco',
    'YOLOF': 'yolof/yolof_r50-c5_8xb8-1x_coco',
    'TOOD': 'tood/tood_r50_fpn_1x_coco',
    'VFNet': 'vfnet/vfnet_r50_fpn_1x_coco',
    'PAA': 'paa/paa_r50_fpn_1x_coco',
    'FreeAnchor': 'free_anchor/freeanchor_r50_fpn_1x_coco',
    'FSAF': 'fsaf/fsaf_r50_fpn_1x_coco',
    'FoveaBox': 'foveabox/fovea_r50_fpn_4xb4-1x_coco',
    'RepPoints': 'reppoints/reppoints-moment_r50_fpn_1x_coco',
    'AutoAssign': 'autoassign/autoassign_r50-caffe_fpn_1x_coco',
    'DDOD': 'ddod/ddod_r50_fpn_1x_coco',
    'NAS-FCOS': 'nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco',
    'PVT': 'pvt/retinanet_pvt-t_fpn_1x_coco',
    'EfficientNet-RetinaNet': 'efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco',
    'CenterNet': 'centernet/centernet_r18_8xb16-crop512-140e_coco',
    'CenterNet-update': 'centernet/centernet-update_r50-caffe_fpn_ms-1x_coco',
    'CornerNet': 'cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco',
    'Double-Head R-CNN': 'double_heads/dh-faster-rcnn_r50_fpn_1x_coco',
    'Libra R-CNN': 'libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco',
    'Dynamic R-CNN': 'dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco',
    'Grid R-CNN': 'grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco',
    'Sparse R-CNN': 'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco',
    'Guided Anchoring': 'guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco',
    'Mask Scoring R-CNN': 'ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco',
    'PointRend': 'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco',
    'HTC': 'htc/htc-without-semantic_r50_fpn_1x_coco',
    'YOLACT': 'yolact/yolact_r50_1xb8-55e_coco',
    'SOLO': 'solo/solo_r50_fpn_1x_coco',
    'SOLOv2': 'solov2/solov2-light_r18_fpn_ms-3x_coco',
    'CondInst': 'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance',
    'RTMDet-Ins': 'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco',
    'Mask2Former': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco',
}
SIZE = (128, 160)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('names', nargs='*', metavar='NAME', help=', '.join(DETECTORS))
    parser.add_argument('--dynamic', choices=('batch', 'size'))
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    print('| Detector | Exports | Same boxes | Remark |\n|---|---|---|---|')
    for name in args.names or DETECTORS:
        began = time.process_time()
        try:
            said = row(name, args.dynamic)
        except Exception as error:  # a row of the table, too
            said = f'no | | {type(error).__name__}: {first_line(error)}'
        print(f'| {name} | {said} | {time.process_time() - began:.0f} s', flush=True)


def row(name: str, dynamic: str | None) -> str:
    """Exports a detector, and returns what came of it."""
    cfg = load_config(f'mmdet::{DETECTORS[name]}.py')
    if 'score_thr' in str(cfg.model.get('test_cfg')):
        set_limits(cfg, None, 0.0)
    model = random_detector(cfg)
    settings = Settings(size=SIZE, dynamic=dynamic)
    with TemporaryDirectory() as folder:
        path = Path(folder, 'model.onnx')
        try:
            write(cfg, model, SIZE, settings, path)
        except UserError as error:
            return f'no | | {error}'
        try:
            return f'yes | yes | {verify(cfg, model, random_images(2, SIZE), path, settings)}'
        except UserError as error:
            return f'yes | no | {error}'


def random_detector(cfg: Config) -> nn.Module:
    """Builds the detector of a config with random weights, and heads that find something."""
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    without_weights(cfg.model)
    torch.manual_seed(0)
    with scope_of(cfg):
        model = MODELS.build(cfg.model)
    for part, module in model.named_modules():
        if hasattr(module, 'running_mean'):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.Conv2d | nn.Linear) and 'head' in part and module.bias is not None:
            scale = 0.05 if 'reg' in part else 0.3
            nn.init.normal_(module.bias, std=scale)
    mend_ssd(model)
    return model.eval()


def without_weights(cfg: object) -> None:
    """Takes out of a config the weights that it would start from."""
    if isinstance(cfg, dict):
        if (cfg.get('init_cfg') or {}) and 'checkpoint' in str(cfg['init_cfg']):
            cfg['init_cfg'] = None
        if 'pretrained' in cfg:
            cfg['pretrained'] = None
    for value in cfg.values() if isinstance(cfg, dict) else cfg if isinstance(cfg, list) else ():
        without_weights(value)


if __name__ == '__main__':
    main()
