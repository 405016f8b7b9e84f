_base_ = [
    '../_base_/models/retinanet_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(type='mmblocks.MobileNetV3', arch='small', out_indices=(3, 8, 12)),
    neck=dict(in_channels=[24, 48, 576]),
)
