_base_ = [
    '../_base_/models/retinanet_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(type='mmblocks.ShuffleNetV1', groups=3, out_indices=(0, 1, 2)),
    neck=dict(in_channels=[240, 480, 960]),
)
