"""Pairs of MobileNets, ShuffleNets, GhostNet and EfficientNet."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmblocks import EfficientNet
from tests.pairs.table import (
    BN,
    EIGHT,
    FIVE,
    FOUR,
    SEVEN,
    add,
    add_openmmlab,
    add_shapes,
)

# MobileNetV1
STAGES = r'blocks\.\d'


def mobilenet_v1(peer, widen_factor: float, **options: Any) -> nn.Module:
    """Builds timm's net in any width; it names only some."""
    build = peer('timm.models.efficientnet')._gen_mobilenet_v1
    return build('mobilenetv1_100', widen_factor, **options)


cfg = dict(type='MobileNetV1', out_indices=FIVE)
add(cfg, 'timm', 'mobilenetv1_100', outputs=STAGES)
for factor in (0.25, 0.35, 0.5, 0.75, 1.25):
    options = dict(widen_factor=factor)
    fields = dict(outputs=STAGES, gradients=factor == 0.25)
    add(cfg | options, 'timm', mobilenet_v1, options=options, **fields)
for factor in (0.5, 1.25):
    options = dict(widen_factor=factor, head_conv=True)
    wanted = dict(out_indices=tuple(range(6)))
    add(cfg | options | wanted, 'timm', mobilenet_v1, options=options, outputs=rf'{STAGES}|bn2')
for output_stride in (8, 16):
    options = dict(widen_factor=0.25, output_stride=output_stride)
    add(cfg | options, 'timm', mobilenet_v1, options=options, outputs=STAGES)

# MobileNetV2
V2 = dict(type='MobileNetV2', out_indices=EIGHT)
TORCHVISION_V2 = r'features\.(1|3|6|10|13|16|17|18)'
for factor in (0.5, 0.25, 0.75, 1.0, 1.4):
    add_openmmlab(dict(V2, widen_factor=factor), 'mmdet', gradients=factor == 0.25)
add_openmmlab(dict(type='MobileNetV2'), 'mmdet')
for factor in (0.5, 0.25, 1.0, 1.4):
    add_openmmlab(dict(V2, widen_factor=factor), 'mmpretrain', gradients=factor == 0.25)
for factor in (0.5, 0.25, 0.35, 0.75, 1.0, 1.3):
    fields = dict(outputs=TORCHVISION_V2, gradients=factor == 0.25)
    options = dict(width_mult=factor)
    add(dict(V2, widen_factor=factor), 'torchvision', 'mobilenet_v2', options=options, **fields)
for name, factors in (
    ('035', dict(widen_factor=0.35)),
    ('050', dict(widen_factor=0.5)),
    ('075', dict(widen_factor=0.75)),
    ('100', dict()),
    ('140', dict(widen_factor=1.4)),
    ('110d', dict(widen_factor=1.1, deepen_factor=1.2, fix_stem_head=True)),
    ('120d', dict(widen_factor=1.2, deepen_factor=1.4, fix_stem_head=True)),
):
    fields = dict(outputs=rf'{STAGES}|bn2', gradients=name == '035')
    add(V2 | factors, 'timm', f'mobilenetv2_{name}', **fields)
for output_stride in (8, 16):
    options = dict(output_stride=output_stride)
    cfg = dict(V2, widen_factor=0.35, **options)
    add(cfg, 'timm', 'mobilenetv2_035', options=options, outputs=rf'{STAGES}|bn2')

# MobileNetV3
BLOCKS = r'blocks\.\d\.\d'


def mobilenet_v3(arch: str, **options: Any) -> dict[str, Any]:
    """Returns the config of a net with all its outputs."""
    outputs = tuple(range(13 if 'small' in arch else 17))
    return dict(type='MobileNetV3', arch=arch, out_indices=outputs, **options)


for arch in ('small_050', 'small_075', 'small', 'large'):
    # mmcv's hard sigmoid divides by 6, torch's multiplies by a sixth that is rounded to float32,
    # and norms over a few pixels make more of that.
    fields = dict(size=(65, 83), gradients=arch == 'small_050', rtol=1e-6)
    add_openmmlab(mobilenet_v3(arch), 'mmpretrain', **fields)
for arch in ('small', 'large'):
    fields = dict(outputs=r'features\.\d+', gradients=arch == 'small')
    add(mobilenet_v3(arch), 'torchvision', f'mobilenet_v3_{arch}', **fields)
for arch, name in (
    ('small_050', 'small_050'),
    ('small_075', 'small_075'),
    ('small', 'small_100'),
    ('large', 'large_100'),
    ('large_075', 'large_075'),
):
    # timm trains it with another eps than the paper's authors.
    cfg = mobilenet_v3(arch, norm_cfg=BN)
    fields = dict(outputs=rf'bn1|{BLOCKS}', gradients=arch == 'small_050')
    add(cfg, 'timm', f'mobilenetv3_{name}', **fields)
    for output_stride in (8, 16) if arch in ('small_050', 'large') else ():
        dilated = dict(output_stride=output_stride)
        options = dict(features_only=True, **dilated)
        add(
            cfg | dilated, 'timm', f'mobilenetv3_{name}', options=options, outputs=rf'act1|{BLOCKS}'
        )

# MobileNetV4
for name, options in (
    ('conv_small_050', dict(widen_factor=0.5)),
    ('conv_small_035', dict(widen_factor=0.35)),
    ('conv_small', dict()),
    ('conv_medium', dict(arch='conv_medium')),
    ('conv_large', dict(arch='conv_large')),
):
    cfg = dict(type='MobileNetV4', out_indices=FIVE, **options)
    is_wanted = name in ('conv_small_050', 'conv_medium')
    add(cfg, 'timm', f'mobilenetv4_{name}', outputs=STAGES, gradients=is_wanted)
    for output_stride in (8, 16) if is_wanted else ():
        dilated = dict(output_stride=output_stride)
        fields = dict(options=dict(features_only=True, **dilated), outputs=STAGES)
        add(cfg | dilated, 'timm', f'mobilenetv4_{name}', **fields)

# ShuffleNetV1 and V2
for groups, factor in (
    *((3, 1.0), (1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0)),
    *((1, 0.25), (2, 0.75), (3, 0.5), (8, 2.0)),
):
    cfg = dict(type='ShuffleNetV1', groups=groups, widen_factor=factor, out_indices=(0, 1, 2))
    add_openmmlab(cfg, 'mmpretrain', gradients=factor == 0.5)
for factor in (0.5, 1.0, 1.5, 2.0):
    cfg = dict(type='ShuffleNetV2', widen_factor=factor, out_indices=FOUR)
    name = f'shufflenet_v2_x{str(factor).replace(".", "_")}'
    add_openmmlab(cfg, 'mmpretrain', gradients=factor == 0.5)
    add(cfg, 'torchvision', name, outputs=r'stage\d|conv5', gradients=factor == 0.5)

# GhostNet
for factor, name in ((0.5, '050'), (1.0, '100'), (1.3, '130')):
    cfg = dict(type='GhostNet', widen_factor=factor, out_indices=tuple(range(10)))
    add(cfg, 'timm', f'ghostnet_{name}', outputs=STAGES, gradients=factor == 0.5)

# EfficientNet: padding and eps stand in no checkpoint.
SYMMETRIC = dict(conv_cfg=None, norm_cfg=BN)
RELU = dict(act_cfg=dict(type='ReLU'))
B0 = dict(type='EfficientNet', arch='b0', out_indices=SEVEN)
ES = dict(type='EfficientNet', arch='es', out_indices=SEVEN, **RELU)
# Two of the paper's stages keep the size, and are ours together with the ones behind them.
TORCHVISION_B = r'features\.[0-3578]'
TIMM_B, TIMM_E = r'bn1|blocks\.[0-246]|bn2', r'bn1|blocks\.[0-245]|bn2'
TWO = dict(num_classes=2)

add_openmmlab(B0, 'mmdet')
add_openmmlab(B0, 'mmpretrain', gradients=True)
add_openmmlab(ES, 'mmpretrain')
options = dict(stochastic_depth_prob=0.0)
fields = dict(outputs=TORCHVISION_B, gradients=True)
add(B0 | SYMMETRIC, 'torchvision', 'efficientnet_b0', options=options, **fields)
add(B0 | SYMMETRIC | TWO, 'torchvision', 'efficientnet_b0', options=TWO, outputs=TORCHVISION_B)
add(B0 | SYMMETRIC, 'timm', 'efficientnet_b0', outputs=TIMM_B)
add(B0 | SYMMETRIC | TWO, 'timm', 'efficientnet_b0', options=TWO, outputs=TIMM_B)
add(B0 | TWO, 'timm', 'tf_efficientnet_b0', options=TWO, outputs=TIMM_B)
add(ES | SYMMETRIC, 'timm', 'efficientnet_es', outputs=TIMM_E, gradients=True)
add(ES | SYMMETRIC | TWO, 'timm', 'efficientnet_es', options=TWO, outputs=TIMM_E)
add(ES | TWO, 'timm', 'tf_efficientnet_es', options=TWO, outputs=TIMM_E)
for arch in EfficientNet.arch_settings:
    cfg = dict(type='EfficientNet', arch=arch, out_indices=SEVEN)
    if arch != 'el':
        add_shapes(cfg, 'mmpretrain', 'EfficientNet', arch=arch)
    if arch not in ('el', 'l2'):
        add_shapes(cfg, 'mmdet', 'EfficientNet', arch=arch)
    if arch in ('b1', 'b8', 'em'):
        add_shapes(cfg, 'timm', f'tf_efficientnet_{arch}')
    add_shapes(cfg | SYMMETRIC, 'timm', f'efficientnet_{arch}')
for i in range(8):
    cfg = dict(type='EfficientNet', arch=f'b{i}', out_indices=SEVEN, conv_cfg=None)
    cfg |= dict(norm_cfg=BN) if i < 5 else {}
    add_shapes(cfg, 'torchvision', f'efficientnet_b{i}')
