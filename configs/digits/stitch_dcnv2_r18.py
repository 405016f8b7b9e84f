# Modulated deformable convolutions in the last two stages; no compiled ops are needed.
_base_ = 'retinanet_r18_fpn_digits.py'
model = dict(
    backbone=dict(
        dcn=dict(type='mmblocks.ModulatedDeformConv2dPack', deform_groups=1),
        stage_with_dcn=(False, False, True, True),
    )
)
