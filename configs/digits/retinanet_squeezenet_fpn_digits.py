# The net ends at stride 16; the level of stride 32 is pooled from its last one.
_base_ = [
    '../_base_/models/retinanet_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        type='mmblocks.SqueezeNet', arch='1_1', out_indices=(2, 3), norm_cfg=dict(type='BN')
    ),
    neck=dict(in_channels=[256, 512]),
)
