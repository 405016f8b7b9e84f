# FasterRCNN with mmblocks.ShuffleNetV2. It has no map of stride 4, so the heads start at stride 8:
# anchors keep their sizes, and regions that were taken from stride 4 come from stride 8 too.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.ShuffleNetV2',
        widen_factor=1.0,
        out_indices=(0, 1, 2),
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://shufflenetv2_x1.0'),
    ),
    # For maps of strides 8, 16 and 32.
    neck=dict(in_channels=[116, 232, 464]),
    rpn_head=dict(anchor_generator=dict(scales=[4], strides=[8, 16, 32, 64, 128])),
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[8, 16, 32], finest_scale=112)),
)
