# RetinaNet with mmblocks.ResNetV1c; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.ResNetV1c',
        depth=50,
        frozen_stages=1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/resnetv1c50_8xb32_in1k_20220214-3343eccd.pth',
            prefix='backbone.',
        ),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
