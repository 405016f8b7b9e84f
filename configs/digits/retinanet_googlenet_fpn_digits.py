_base_ = [
    '../_base_/models/retinanet_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(type='mmblocks.GoogLeNet', out_indices=(2, 3, 4)),
    neck=dict(in_channels=[480, 832, 1024]),
)
