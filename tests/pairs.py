"""The table of parity: every net of ours beside the same net of other libraries."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import Any

from torch import Tensor, nn

from mmblocks import EfficientNet, SENet
from mmblocks.backbones import VGG
from tests.peers import Pair, module_outputs

PAIRS: list[Pair] = []
# Pairs whose names and shapes alone are compared, on the meta device.
SHAPES: list[Pair] = []
# Pairs whose keys are the same, whole nets' in the same order but for REORDERED.
SAME_KEYS = frozenset(
    f'{net}-{library}'
    for library, nets in dict(
        mmdet='ResNet ResNetV1d ResNeXt MobileNetV2 EfficientNet CSPDarknet',
        mmpretrain='ResNet ResNeXt SEResNet MobileNetV3 ShuffleNetV1 ShuffleNetV2 EfficientNet '
        'LeNet5 AlexNet',
        torchvision='ResNet ResNeXt DenseNet GoogLeNet AlexNet VGG SqueezeNet',
        timm='ResNet ResNeXt SENet PreActSEResNet MobileNetV1 GhostNet InceptionNeXt',
    ).items()
    for net in nets.split()
)
REORDERED = ('SEResNet', 'SENet', 'GoogLeNet', 'DenseNet')

ALL = {4: (0, 1, 2, 3), 5: tuple(range(5)), 7: tuple(range(7)), 8: tuple(range(8))}
FOUR, FIVE, SEVEN, EIGHT = ALL.values()
BN = dict(type='BN')
NO_NORM_EVAL = dict(norm_eval=False)
# The modules of torchvision's and timm's ResNets that give our outputs.
LAYERS = r'layer[1-4]'


def add(cfg: dict[str, Any], library: str, name: Any, **fields: Any) -> None:
    """Adds a pair to the table."""
    PAIRS.append(Pair(cfg, library, name, **fields))


def add_openmmlab(cfg: dict[str, Any], *libraries: str, **fields: Any) -> None:
    """Adds pairs whose other net takes our arguments."""
    options = {key: value for key, value in cfg.items() if key != 'type'}
    for library in libraries:
        add(cfg, library, cfg['type'], options=options, **fields)


def add_shapes(cfg: dict[str, Any], library: str, name: str, **options: Any) -> None:
    """Adds a pair whose names and shapes alone are compared."""
    SHAPES.append(Pair(cfg, library, name, options))


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
CLASSES = dict(num_classes=5)

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
    # mmcv's hard sigmoid divides by 6, torch's multiplies by a sixth that is rounded to float32.
    fields = dict(gradients=arch == 'small_050', rtol=1e-6)
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

# DenseNet
DENSE = dict(type='DenseNet', arch='121', out_indices=FOUR)
TINY_DENSE = dict(growth_rate=8, depths=(2, 3, 2, 2), init_channels=16)
TINY_OF_TORCHVISION = dict(growth_rate=8, block_config=(2, 3, 2, 2), num_init_features=16)
DENSE_BLOCKS = r'features\.denseblock[1-3]|features\.norm5'


def activated_last(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Returns the outputs of torchvision's net, whose last activation is no module."""
    *outputs, last = module_outputs(model, DENSE_BLOCKS, x)[0]
    return [*outputs, last.relu()]


add(DENSE, 'torchvision', 'densenet121', options=CLASSES, outputs=activated_last)
cfg = dict(type='DenseNet', arch='121', num_classes=5)
add(cfg, 'torchvision', 'densenet121', options=CLASSES, outputs=lambda model, x: [model(x)])
for memory_efficient in (False, True):
    for with_cp in (False, True):
        cfg = dict(DENSE, arch=TINY_DENSE, memory_efficient=memory_efficient, with_cp=with_cp)
        fields = dict(outputs=activated_last, gradients=True)
        add(cfg, 'torchvision', 'DenseNet', options=TINY_OF_TORCHVISION, **fields)
add(DENSE, 'timm', 'densenet121', outputs=DENSE_BLOCKS)
options = dict(features_only=True)
# timm's first one lies within the stem.
add(DENSE, 'timm', 'densenet121', options=options, outputs=slice(1, None))
add(DENSE | CLASSES, 'timm', 'densenet121', options=CLASSES, outputs=DENSE_BLOCKS)
add(dict(type='DenseNet', arch='121'), 'mmpretrain', 'DenseNet', options=dict(arch='121'))
for factor in (0.3, 1.0):
    cfg = dict(type='DenseNet', arch=TINY_DENSE, bn_size=2, compression_factor=factor)
    add_openmmlab(dict(cfg, in_channels=3), 'mmpretrain', gradients=True)
for arch in ('121', '161', '169', '201'):
    whole = dict(type='DenseNet', arch=arch, num_classes=1000)
    add_shapes(whole, 'torchvision', f'densenet{arch}')
    add_shapes(dict(type='DenseNet', arch=int(arch)), 'mmpretrain', 'DenseNet', arch=arch)

# GoogLeNet
cfg = dict(type='GoogLeNet', out_indices=FIVE)
GOOGLE_OUTPUTS = 'conv1|conv3|inception3b|inception4e|inception5b'
options = dict(num_classes=5, init_weights=False)
fields = dict(options=options, outputs=GOOGLE_OUTPUTS)
add(cfg, 'torchvision', 'googlenet', gradients=True, **fields)
add(cfg | CLASSES, 'torchvision', 'googlenet', **fields)

# LeNet5
add(
    dict(type='LeNet5'),
    'mmpretrain',
    'LeNet5',
    options=dict(num_classes=10),
    # Its classifier takes images of 32 x 32 alone.
    outputs=lambda model, x: [model.features(x)],
    size=(50, 40),
)
cfg = dict(type='LeNet5', num_classes=10, out_indices=(0, 1, 2))
fields = dict(outputs=r'features\.[257]', size=(32, 32), gradients=True)
add(cfg, 'mmpretrain', 'LeNet5', options=dict(num_classes=10), **fields)

# AlexNet
ALEX = dict(type='AlexNet', out_indices=FOUR)
fields = dict(outputs=r'features\.(1|4|11|12)')
add(ALEX, 'torchvision', 'alexnet', size=(64, 97), **fields)
add(ALEX | CLASSES, 'torchvision', 'alexnet', options=CLASSES, size=(97, 130), **fields)
add(ALEX, 'mmpretrain', 'AlexNet', size=(75, 64), gradients=True, **fields)
add(ALEX | CLASSES, 'mmpretrain', 'AlexNet', options=CLASSES, size=(224, 224), **fields)

# VGG


def vgg(depth: int, norm_cfg: dict | None) -> tuple[dict[str, Any], str, str]:
    """Returns a config, torchvision's and timm's name, and the names of their poolings."""
    cfg = dict(type='VGG', depth=depth, norm_cfg=norm_cfg, out_indices=FIVE)
    layers = [(3 if norm_cfg else 2) * count + 1 for count in VGG.arch_settings[depth]]
    numbers = '|'.join(str(end - 1) for end in accumulate(layers))
    return cfg, f'vgg{depth}' + ('_bn' if norm_cfg else ''), rf'features\.({numbers})'


for depth, norm_cfg in ((11, BN), (11, None), (13, None), (16, BN), (19, BN)):
    cfg, name, poolings = vgg(depth, norm_cfg)
    fields = dict(outputs=poolings, size=(75, 64))
    add(cfg, 'torchvision', name, options=dict(init_weights=False), **fields)
cfg, name, poolings = vgg(11, BN)
add(cfg, 'timm', name, outputs=poolings, size=(75, 64))
add_openmmlab(cfg, 'mmpretrain', size=(49, 52), gradients=True)
for options in (
    dict(),
    dict(norm_cfg=BN, out_indices=FIVE),
    dict(num_stages=3, dilations=(1, 2, 3), out_indices=(0, 2)),
    dict(ceil_mode=True, with_last_pool=False, out_indices=(3, 4)),
    dict(norm_cfg=dict(type='GN', num_groups=2), dilations=(1, 1, 1, 2, 4)),
    dict(act_cfg=dict(type='LeakyReLU'), out_indices=(1, 2)),
):
    has_more = options.get('out_indices') == (1, 2)
    cfg = dict(type='VGG', depth=11, **options)
    add_openmmlab(cfg, 'mmpretrain', size=(75, 64), has_more=has_more)
cfg, name, poolings = vgg(11, None)
fields = dict(options=CLASSES, outputs=poolings)
add(cfg | CLASSES, 'torchvision', name, size=(75, 64), **fields)
for size in ((75, 64), (224, 224)):
    add(cfg | CLASSES, 'timm', name, size=size, **fields)
add_openmmlab(cfg | CLASSES, 'mmpretrain', size=(224, 224))
for depth in (11, 13, 16, 19):
    for norm_cfg in (None, BN):
        cfg, name, _ = vgg(depth, norm_cfg)
        cfg |= dict(num_classes=1000)
        add_shapes(cfg, 'torchvision', name, init_weights=False)
        add_shapes(cfg, 'timm', name)
        options = {key: value for key, value in cfg.items() if key != 'type'}
        add_shapes(cfg, 'mmpretrain', 'VGG', **options)

# SqueezeNet
for arch, outputs in (('1_1', r'features\.(1|4|7|12)'), ('1_0', r'features\.(1|5|10|12)')):
    cfg = dict(type='SqueezeNet', arch=arch, out_indices=FOUR)
    name = f'squeezenet{arch}'
    add(cfg, 'torchvision', name, outputs=outputs)
    options = dict(num_classes=5, dropout=0.0)
    cfg = dict(cfg, num_classes=5, drop_rate=0.0)
    add(cfg, 'torchvision', name, options=options, outputs=outputs, gradients=True)

# InceptionNeXt
SMALL_NEXT = dict(
    depths=(1, 2, 1, 1),
    widths=(16, 24, 32, 40),
    mlp_ratios=(2, 3, 2, 1.5),
    band_kernel_size=7,
    branch_ratio=0.25,
)


def small_next(peer, **options: Any) -> nn.Module:
    """Builds timm's InceptionNeXt in the size of ``SMALL_NEXT``."""
    module = peer('timm.models.inception_next')
    return module.MetaNeXt(
        depths=SMALL_NEXT['depths'],
        dims=SMALL_NEXT['widths'],
        mlp_ratios=SMALL_NEXT['mlp_ratios'],
        token_mixers=partial(module.InceptionDWConv2d, band_kernel_size=7, branch_ratio=0.25),
        **options,
    )


NEXT = dict(type='InceptionNeXt', out_indices=FOUR)
# Of neither side does any stride leave nothing over.
NEXT_FIELDS = dict(outputs=r'stages\.\d', size=(69, 87))
for options in (dict(), dict(num_classes=0)):
    add(dict(NEXT, arch='atto'), 'timm', 'inception_next_atto', options=options, **NEXT_FIELDS)
cfg = dict(NEXT, arch='atto')
fields = NEXT_FIELDS | dict(outputs=slice(None))
add(cfg, 'timm', 'inception_next_atto', options=dict(features_only=True), **fields)
for arch in ('atto', 'tiny'):
    cfg = dict(NEXT, arch=arch, num_classes=5)
    add(cfg, 'timm', f'inception_next_{arch}', options=CLASSES, **NEXT_FIELDS)
for output_stride in (8, 16, 32):
    dilated = dict(output_stride=output_stride)
    for with_cp in (False, True):
        cfg = dict(NEXT, arch=SMALL_NEXT, num_classes=5, with_cp=with_cp, **dilated)
        add(cfg, 'timm', small_next, options=CLASSES | dilated, gradients=True, **NEXT_FIELDS)
    cfg = dict(NEXT, arch='atto', **dilated)
    add(cfg, 'timm', 'inception_next_atto', options=dilated, **NEXT_FIELDS)
for arch in ('atto', 'tiny', 'small', 'base'):
    cfg = dict(type='InceptionNeXt', arch=arch, num_classes=1000)
    add_shapes(cfg, 'timm', f'inception_next_{arch}')

# CSPDarknet
SMALL_CSP = dict(deepen_factor=0.33, widen_factor=0.25, out_indices=FIVE)
TINY_CSP = dict(deepen_factor=0.33, widen_factor=0.125, out_indices=FIVE)
YOLOX = {
    'nano': dict(deepen_factor=0.33, widen_factor=0.25, use_depthwise=True),
    'tiny': dict(deepen_factor=0.33, widen_factor=0.375),
    's': dict(deepen_factor=0.33, widen_factor=0.5),
    'm': dict(deepen_factor=0.67, widen_factor=0.75),
    'l': dict(deepen_factor=1.0, widen_factor=1.0),
    'x': dict(deepen_factor=1.33, widen_factor=1.25),
}
ROWS = [[16, 24, 1, True, True], [24, 40, 3, False, False]]
for options in (
    dict(SMALL_CSP),
    dict(YOLOX['nano'], out_indices=FIVE),
    dict(YOLOX['tiny'], out_indices=FIVE),
    dict(YOLOX['s'], out_indices=FIVE),
    dict(SMALL_CSP, arch='P6', out_indices=tuple(range(6))),
    dict(SMALL_CSP, spp_kernal_sizes=(3, 7), act_cfg=dict(type='LeakyReLU', negative_slope=0.1)),
    dict(arch_ovewrite=ROWS, out_indices=(0, 1, 2)),
    dict(arch_ovewrite=[[16, 24, 1, 1, 1], [24, 40, 3, 0, 0]], out_indices=(0, 1, 2)),
    dict(SMALL_CSP, deepen_factor=0.7),
    dict(TINY_CSP, use_depthwise=False),
    dict(TINY_CSP, use_depthwise=True),
):
    with_gradients = options.get('widen_factor') == 0.125
    cfg = dict(type='CSPDarknet', **options)
    # mmdet's focus layer takes even sizes only.
    add_openmmlab(cfg, 'mmdet', size=(64, 86), gradients=with_gradients)
for options in YOLOX.values():
    for arch, last in (('P5', 4), ('P6', 5)):
        options = dict(options, arch=arch, out_indices=(last,))
        add_shapes(dict(type='CSPDarknet', **options), 'mmdet', 'CSPDarknet', **options)


def one_of_each() -> list[Pair]:
    """Returns the first pair of each net and library, without classifier."""
    first: dict[str, Pair] = {}
    for pair in PAIRS:
        if 'num_classes' not in pair.cfg:
            first.setdefault(str(pair), pair)
    return list(first.values())
