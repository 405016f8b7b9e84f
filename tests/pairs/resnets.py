"""Pairs of ResNet and its relatives."""

from __future__ import annotations

from mmblocks import SENet
from tests.pairs.table import (
    CLASSES,
    FOUR,
    LAYERS,
    add,
    add_openmmlab,
    add_shapes,
)

# ResNet, ResNetV1c, ResNetV1d, ResNeXt, SEResNet
CONTEXT = dict(type='ContextBlock', ratio=0.25)
AFTER_CONV3 = dict(cfg=CONTEXT, stages=(False, True, True, True), position='after_conv3')
TWICE = [dict(cfg=dict(CONTEXT, postfix=i), position=f'after_conv{i}') for i in (1, 2)]
DCNV2 = dict(type='DCNv2', deform_groups=1)
DCN = dict(dcn=dict(type='DCN', deform_groups=2), stage_with_dcn=(False, False, True, True))
DILATED = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))

for options in (
    dict(depth=18),
    dict(depth=50, style='caffe'),
    dict(depth=50, plugins=[AFTER_CONV3]),
    dict(depth=50, dcn=DCNV2, stage_with_dcn=(False, True, True, True)),
):
    cfg = dict(type='ResNet', base_channels=8, norm_eval=False, **options)
    add_openmmlab(cfg, 'mmdet', gradients=True)
for options in (
    dict(depth=34),
    dict(depth=50),
    dict(depth=18, **DILATED),
    dict(depth=50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    dict(depth=50, style='caffe', **DILATED),
    dict(depth=50, deep_stem=True, stem_channels=16),
    dict(depth=18, avg_down=True),
    dict(depth=50, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)),
    dict(depth=50, norm_cfg=dict(type='GN', num_groups=4)),
    dict(depth=50, plugins=TWICE),
    dict(depth=50, style='caffe', **DCN),
):
    add_openmmlab(dict(type='ResNet', base_channels=8, norm_eval=False, **options), 'mmdet')
for depth in (18, 50, 101):
    cfg = dict(type='ResNetV1d', depth=depth, base_channels=8, norm_eval=False)
    add_openmmlab(cfg, 'mmdet', gradients=depth == 50)
for depth in (50, 101, 152):
    for options in (
        dict(groups=32, base_width=4),
        dict(),
        dict(
            groups=8,
            base_width=8,
            style='caffe',
            dcn=DCNV2,
            stage_with_dcn=(False, False, True, True),
            plugins=[dict(cfg=CONTEXT, position='after_conv2')],
        ),
    ):
        add_openmmlab(dict(type='ResNeXt', depth=depth, base_channels=16, **options), 'mmdet')

for net, depths in (
    ('ResNet', (18, 34, 50, 101, 152)),
    ('ResNetV1c', (18, 50, 101, 152)),
    ('ResNetV1d', (18, 50, 101, 152)),
    ('SEResNet', (50, 101, 152)),
):
    for depth in depths:
        with_gradients = depth == 50 and net in ('ResNetV1c', 'SEResNet')
        cfg = dict(type=net, depth=depth, out_indices=FOUR, norm_eval=False)
        add_openmmlab(cfg, 'mmpretrain', gradients=with_gradients)
for depth in (50, 101, 152):
    cfg = dict(type='ResNeXt', depth=depth, groups=32, base_width=4, norm_eval=False)
    options = dict(depth=depth, groups=32, width_per_group=4, out_indices=FOUR)
    add(cfg, 'mmpretrain', 'ResNeXt', options=options, gradients=depth == 50)

for depth in (18, 34, 50, 101, 152):
    cfg = dict(type='ResNet', depth=depth, norm_eval=False)
    add(cfg, 'torchvision', f'resnet{depth}', outputs=LAYERS, gradients=depth == 18)
    add(cfg, 'timm', f'resnet{depth}', outputs=LAYERS)
for depth, groups, width in ((50, 32, 4), (101, 32, 8), (101, 64, 4)):
    cfg = dict(type='ResNeXt', depth=depth, groups=groups, base_width=width)
    add(cfg, 'torchvision', f'resnext{depth}_{groups}x{width}d', outputs=LAYERS)
cfg = dict(type='ResNeXt', depth=50, groups=32, base_width=4)
add(cfg, 'timm', 'resnext50_32x4d', outputs=LAYERS)
add(dict(type='ResNetV1c', depth=50), 'timm', 'resnet50c', outputs=LAYERS)
for depth in (18, 50):
    add(dict(type='ResNetV1d', depth=depth), 'timm', f'resnet{depth}d', outputs=LAYERS)
    add(dict(type='SEResNet', depth=depth), 'timm', f'seresnet{depth}', outputs=LAYERS)

# SENet
LEGACY = {'154': 'legacy_senet154'}
LEGACY |= {str(depth): f'legacy_seresnet{depth}' for depth in (18, 34, 50, 101, 152)}
LEGACY |= {f'{depth}_32x4d': f'legacy_seresnext{depth}_32x4d' for depth in (26, 50, 101)}

add(dict(type='SENet', arch='18'), 'timm', LEGACY['18'], outputs=LAYERS)
# Every kind of block, stem and shortcut.
for arch in ('18', '50', '154', '26_32x4d'):
    cfg = dict(type='SENet', arch=arch, num_classes=5, out_indices=FOUR)
    add(cfg, 'timm', LEGACY[arch], options=CLASSES, outputs=LAYERS, size=(64, 75))
for with_cp in (False, True):
    cfg = dict(type='SENet', arch='26_32x4d', with_cp=with_cp)
    options = dict(num_classes=0)
    add(cfg, 'timm', LEGACY['26_32x4d'], options=options, outputs=LAYERS, gradients=True)
cfg = dict(type='SENet', arch='18', in_channels=1)
options = dict(features_only=True, in_chans=1)
# timm's first one lies within the stem.
add(cfg, 'timm', LEGACY['18'], options=options, outputs=slice(1, None))
for arch in SENet.arch_settings:
    add_shapes(dict(type='SENet', arch=arch, num_classes=1000), 'timm', LEGACY[arch])

# PreActSEResNet, without its SE blocks
PREACT = dict(type='PreActSEResNet', se_ratio=None)
PREACT_OUTPUTS = r'stages\.[0-2]|norm'

for with_cp in (False, True):
    cfg = dict(PREACT, depth=18, with_cp=with_cp)
    options = dict(num_classes=0)
    add(cfg, 'timm', 'resnetv2_18', options=options, outputs=PREACT_OUTPUTS, gradients=True)
for depth in (18, 34, 50):
    cfg = dict(PREACT, depth=depth, num_classes=5, out_indices=FOUR)
    add(cfg, 'timm', f'resnetv2_{depth}', options=CLASSES, outputs=PREACT_OUTPUTS)
for depth in (18, 50):
    for output_stride in (8, 16):
        cfg = dict(PREACT, depth=depth, output_stride=output_stride)
        options = dict(num_classes=0, output_stride=output_stride)
        add(cfg, 'timm', f'resnetv2_{depth}', options=options, outputs=PREACT_OUTPUTS)
cfg = dict(PREACT, depth=18, out_indices=(0, 1, 2))
options = dict(features_only=True)
# timm's first one lies within the stem, and its last one has no norm.
add(cfg, 'timm', 'resnetv2_18', options=options, outputs=slice(1, 4), has_more=True)
for depth in (18, 34, 50, 101, 152):
    add_shapes(dict(PREACT, depth=depth, num_classes=1000), 'timm', f'resnetv2_{depth}')
