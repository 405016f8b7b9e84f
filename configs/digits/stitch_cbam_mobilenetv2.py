# CBAM behind the depthwise convolution of every block.
_base_ = 'retinanet_mobilenetv2_fpn_digits.py'
model = dict(backbone=dict(plugins=[dict(cfg=dict(type='mmblocks.CBAM'), position='after_conv2')]))
