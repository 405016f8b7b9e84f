# AKConv in place of the 3x3 convolutions of the last two stages.
_base_ = 'retinanet_r18_fpn_digits.py'
model = dict(
    backbone=dict(
        replace_convs=[
            dict(cfg=dict(type='mmblocks.AKConv', num_points=5), stages=(False, False, True, True))
        ]
    )
)
