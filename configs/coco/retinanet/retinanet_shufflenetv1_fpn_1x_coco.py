# RetinaNet with mmblocks.ShuffleNetV1; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.ShuffleNetV1',
        groups=3,
        widen_factor=1.0,
        out_indices=(0, 1, 2),
        frozen_stages=1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/shufflenet_v1/shufflenet_v1_batch1024_imagenet_20200804-5d6cec73.pth',
            prefix='backbone.',
        ),
    ),
    # For maps of strides 8, 16 and 32.
    neck=dict(in_channels=[240, 480, 960], start_level=0),
)
