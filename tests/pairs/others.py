"""Pairs of the other nets."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import Any

from torch import Tensor, nn

from mmblocks.backbones import VGG
from tests.pairs.table import (
    BN,
    CLASSES,
    FIVE,
    FOUR,
    add,
    add_openmmlab,
    add_shapes,
)
from tests.peers import module_outputs

# DenseNet
DENSE = dict(type='DenseNet', arch='121', out_indices=FOUR)
TINY_DENSE = dict(growth_rate=8, depths=(2, 3, 2, 2), init_channels=16)
TINY_OF_TORCHVISION = dict(growth_rate=8, block_config=(2, 3, 2, 2), num_init_features=16)
LARGER = (65, 83)  # in training, norms need maps of more than a pixel
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
        fields = dict(outputs=activated_last, size=LARGER, gradients=True)
        add(cfg, 'torchvision', 'DenseNet', options=TINY_OF_TORCHVISION, **fields)
add(DENSE, 'timm', 'densenet121', outputs=DENSE_BLOCKS)
options = dict(features_only=True)
# timm's first one lies within the stem.
add(DENSE, 'timm', 'densenet121', options=options, outputs=slice(1, None))
add(DENSE | CLASSES, 'timm', 'densenet121', options=CLASSES, outputs=DENSE_BLOCKS)
add(dict(type='DenseNet', arch='121'), 'mmpretrain', 'DenseNet', options=dict(arch='121'))
for factor in (0.3, 1.0):
    cfg = dict(type='DenseNet', arch=TINY_DENSE, bn_size=2, compression_factor=factor)
    add_openmmlab(dict(cfg, in_channels=3), 'mmpretrain', size=LARGER, gradients=True)
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
