# FasterRCNN with mmblocks.ShuffleNetV1. It has no map of stride 4, so the heads start at stride 8:
# anchors keep their sizes, and regions that were taken from stride 4 come from stride 8 too.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.ShuffleNetV1',
        groups=3,
        widen_factor=1.0,
        out_indices=(0, 1, 2),
        frozen_stages=1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/shufflenet_v1/shufflenet_v1_batch1024_imagenet_20200804-5d6cec73.pth',
            prefix='backbone.',
        ),
    ),
    # For maps of strides 8, 16 and 32.
    neck=dict(in_channels=[240, 480, 960]),
    rpn_head=dict(anchor_generator=dict(scales=[4], strides=[8, 16, 32, 64, 128])),
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[8, 16, 32], finest_scale=112)),
)
