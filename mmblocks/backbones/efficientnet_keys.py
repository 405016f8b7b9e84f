"""How other libraries name the tensors of EfficientNet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmblocks.backbones.classifier import mmpretrain_classifier
from mmblocks.backbones.mobilenet_keys import (
    BlockNames,
    Pairs,
    conv_and_bn_pairs,
    timm_block_pairs,
    torchvision_block_pairs,
)
from mmblocks.backbones.traits import ACTIVATION, EPS, PADDING
from mmblocks.weights.key_mapping import KeyMapping, drop_parts
from mmblocks.weights.published import Published

_WITHOUT_CLASSIFIER = (drop_parts('mmblocks', 'classifier'),)
_WITH_CLASSIFIER = (
    mmpretrain_classifier(),
    # Their backbones have our names, which no key tells apart, and no classifier to write.
    *(KeyMapping(library, r'(?!)', dropped=('classifier',)) for library in ('mmpretrain', 'mmdet')),
)


def efficientnet_key_mappings(
    inverted: Sequence[BlockNames],
    fused: Sequence[BlockNames],
    stages: int,
    last: int,
    with_classifier: bool,
) -> tuple[KeyMapping, ...]:
    """Returns the mappings of EfficientNet.

    Args:
        inverted: Every inverted residual of the net.
        fused: Every edge residual of the net, of which torchvision has none.
        stages: Number of the paper's stages that hold them, in which the peers count.
        last: Place of the last convolution among our groups.
        with_classifier: Whether the net has a classifier.
    """
    dropped = () if with_classifier else ('classifier',)
    return (
        KeyMapping(
            'timm (conditional convolutions)',
            r'blocks\.\d+\.\d+\.routing_fn\.',
            refused='their kernels are chosen by each image, so the outputs would differ',
        ),
        KeyMapping(
            'torchvision',
            r'features\.\d+\.\d+\.block\.',
            (
                *conv_and_bn_pairs('layers.0', 'features.0'),
                *torchvision_block_pairs(inverted),
                *conv_and_bn_pairs(f'layers.{last}', f'features.{stages + 1}'),
                *((('classifier', 'classifier.1'),) if with_classifier else ()),
            ),
            dropped,
        ),
        KeyMapping(
            'timm',
            r'conv_stem\.',
            (
                ('layers.0.conv', 'conv_stem'),
                ('layers.0.bn', 'bn1'),
                *_timm_edge_pairs(fused),
                *timm_block_pairs(inverted),
                (f'layers.{last}.conv', 'conv_head'),
                (f'layers.{last}.bn', 'bn2'),
            ),
            dropped,
        ),
        *(_WITH_CLASSIFIER if with_classifier else _WITHOUT_CLASSIFIER),
    )


def _timm_edge_pairs(blocks: Iterable[BlockNames]) -> Pairs:
    for block in blocks:
        for i, conv in enumerate(('conv_exp', 'conv_pwl'), 1):
            yield f'{block.ours}.conv{i}.conv', f'{block.timm}.{conv}'
            yield f'{block.ours}.conv{i}.bn', f'{block.timm}.bn{i}'


# TensorFlow's padding and eps, and those of torch.
_TENSORFLOW = {PADDING: 'same', EPS: 1e-3}
_TORCH = {PADDING: 'symmetric', EPS: 1e-5}


def efficientnet_published(arch: str | None, family: str) -> tuple[Published, ...]:
    """Returns what the published weights of EfficientNet need.

    Args:
        arch: Name of the net, if it has one.
        family: 'b', or 'e' for the EdgeTPU's.
    """
    activation = {ACTIVATION: 'ReLU'} if family == 'e' else {}
    large = arch in ('b5', 'b6', 'b7')
    models = f'efficientnet_{family}*'
    rows = [
        Published('timm', f'tf_{models}', 'tf_efficientnet', 'timm', _TENSORFLOW | activation),
        Published('timm', models, 'efficientnet_[bel]', 'timm', _TORCH | activation),
        Published('mmpretrain', 'efficientnet-b*', r'efficientnet_b\d_3rdparty', None, _TENSORFLOW),
        Published(
            'torchvision',
            'efficientnet_b5 to b7' if large else 'efficientnet_b0 to b4',
            r'efficientnet_b\d',
            'torchvision',
            _TORCH | {EPS: 1e-3} if large else _TORCH,
        ),
    ]
    if arch == 'b0':
        blurred = 'they blur in front of each stride'
        rows.insert(
            0,
            Published('timm', 'efficientnet_blur_b0', 'efficientnet_blur', 'timm', other=blurred),
        )
    return tuple(rows)
