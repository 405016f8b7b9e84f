# Squeeze-and-excitation behind the last convolution of every block.
_base_ = 'retinanet_shufflenetv2_fpn_digits.py'
model = dict(
    backbone=dict(plugins=[dict(cfg=dict(type='mmblocks.SELayer'), position='after_conv3')])
)
