_base_ = [
    '../_base_/models/retinanet_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(type='mmblocks.MobileNetV4', arch='conv_small', out_indices=(1, 2, 4)),
    neck=dict(in_channels=[64, 96, 960]),
)
