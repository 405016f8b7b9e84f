# MaskRCNN with mmblocks.MobileNetV3; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.MobileNetV3',
        arch='large',
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://mobilenet_v3_large'),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[24, 40, 112, 960]),
)
