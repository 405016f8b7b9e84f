# FasterRCNN with mmblocks.SEResNet; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmblocks.SEResNet',
        depth=50,
        frozen_stages=1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/se-resnet/se-resnet50_batch256_imagenet_20200804-ae206104.pth',
            prefix='backbone.',
        ),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
