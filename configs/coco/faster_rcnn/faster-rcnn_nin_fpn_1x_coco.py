# FasterRCNN with mmblocks.NIN; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    # Trains from scratch until an init_cfg names weights to start from.
    backbone=dict(_delete_=True, type='mmblocks.NIN', norm_cfg=dict(type='BN')),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[96, 256, 384, 1024]),
)
