# The net ends at stride 4, so the heads start there, with anchors of the sizes that they have
# elsewhere; the levels of strides 8 and 16 are pooled from its last one.
_base_ = [
    '../_base_/models/retinanet_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_digits.py',
    '../_base_/digits_runtime.py',
]
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(type='mmblocks.LeNet5', in_channels=3, norm_cfg=dict(type='BN')),
    neck=dict(in_channels=[120]),
    # Without padding, a pixel of the map sees 32 of the image that begin at its own corner: the
    # anchors stand in their middle.
    bbox_head=dict(
        anchor_generator=dict(octave_base_scale=6, strides=[4, 8, 16], centers=[(15.5, 15.5)] * 3)
    ),
)
