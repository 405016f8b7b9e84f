# RetinaNet with mmblocks.InceptionNeXt; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.InceptionNeXt',
        arch='tiny',
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='timm://inception_next_tiny'),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[96, 192, 384, 768]),
)
