# RetinaNet with mmblocks.VGG; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.VGG',
        depth=16,
        out_indices=(1, 2, 3, 4),
        norm_cfg=dict(type='BN'),
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16_bn'),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[128, 256, 512, 512]),
)
