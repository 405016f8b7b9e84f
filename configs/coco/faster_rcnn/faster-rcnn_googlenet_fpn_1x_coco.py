# FasterRCNN with mmblocks.GoogLeNet; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    # What the weights were trained on; the base has another mean and std.
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], bgr_to_rgb=True),
    backbone=dict(
        _delete_=True,
        type='mmblocks.GoogLeNet',
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://googlenet'),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[192, 480, 832, 1024]),
)
