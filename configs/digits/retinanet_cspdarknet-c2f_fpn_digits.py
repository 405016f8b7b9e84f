_base_ = [
    '../_base_/models/retinanet_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(
        type='mmblocks.CSPDarknet',
        deepen_factor=0.33,
        widen_factor=0.25,
        out_indices=(2, 3, 4),
        block='C2f',
    ),
    neck=dict(in_channels=[64, 128, 256]),
)
