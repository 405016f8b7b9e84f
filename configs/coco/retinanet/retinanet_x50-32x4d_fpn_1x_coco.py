# RetinaNet with mmblocks.ResNeXt; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.ResNeXt',
        depth=50,
        groups=32,
        base_width=4,
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnext50_32x4d'),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
