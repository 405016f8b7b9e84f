# Inception depthwise convolutions in place of those without a stride.
_base_ = 'retinanet_mobilenetv3-small_fpn_digits.py'
model = dict(
    backbone=dict(
        replace_convs=[dict(cfg=dict(type='mmblocks.InceptionDWConv2d'), fallback_on_stride=True)]
    )
)
