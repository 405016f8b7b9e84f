# Ghost modules in place of all 3x3 convolutions.
_base_ = 'retinanet_r18_fpn_digits.py'
model = dict(
    backbone=dict(replace_convs=[dict(cfg=dict(type='mmblocks.GhostModule', act_cfg=None))])
)
