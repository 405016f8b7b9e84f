# AKConv behind the second convolution of every block of the last two stages.
_base_ = 'retinanet_r18_fpn_digits.py'
model = dict(
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='mmblocks.AKConv', num_points=5),
                position='after_conv2',
                stages=(False, False, True, True),
                init='identity',
            )
        ]
    )
)
