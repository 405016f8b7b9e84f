# RetinaNet with mmblocks.MobileNetV4; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.MobileNetV4',
        arch='conv_medium',
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='timm://mobilenetv4_conv_medium'),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[48, 80, 160, 960]),
)
