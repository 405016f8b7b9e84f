_base_ = [
    '../_base_/models/retinanet_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(type='mmblocks.EfficientNet', arch='b0', out_indices=(3, 4, 5)),
    neck=dict(in_channels=[40, 112, 320]),
)
