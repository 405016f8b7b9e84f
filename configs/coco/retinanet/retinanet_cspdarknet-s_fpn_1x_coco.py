# RetinaNet with mmblocks.CSPDarknet; tools/swap_backbone.py wrote this.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    # Trains from scratch until an init_cfg names weights to start from.
    backbone=dict(
        _delete_=True,
        type='mmblocks.CSPDarknet',
        deepen_factor=0.33,
        widen_factor=0.5,
        out_indices=(1, 2, 3, 4),
    ),
    # For maps of strides 4, 8, 16 and 32.
    neck=dict(in_channels=[64, 128, 256, 512]),
)
