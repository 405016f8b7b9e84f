# RetinaNet with mmblocks.EfficientNet; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.EfficientNet',
        arch='b0',
        out_indices=(2, 3, 4, 5),
        frozen_stages=1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/efficientnet/efficientnet-b0_3rdparty_8xb32_in1k_20220119-a7e2a0b1.pth',
            prefix='backbone.',
        ),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[24, 40, 112, 320]),
)
