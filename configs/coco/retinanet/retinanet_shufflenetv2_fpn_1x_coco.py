# RetinaNet with mmblocks.ShuffleNetV2; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.ShuffleNetV2',
        widen_factor=1.0,
        out_indices=(0, 1, 2),
        frozen_stages=1,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://shufflenetv2_x1.0'),
    ),
    # For maps of strides 8, 16 and 32.
    neck=dict(in_channels=[116, 232, 464], start_level=0),
)
