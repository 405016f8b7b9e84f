"""How other libraries name the tensors of the MobileNets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mmblocks.backbones.traits import EPS, PADDING
from mmblocks.weights.key_mapping import KeyMapping
from mmblocks.weights.published import Published

Pairs = Iterator[tuple[str, str]]


class BlockNames(NamedTuple):
    """An inverted residual as the libraries see it.

    Attributes:
        ours: Its name here and in OpenMMLab, such as 'layer2.0'.
        timm: Its name in timm, such as 'blocks.1.0'.
        position: Its place in the whole net, the stem being 0: torchvision's number. Where
            torchvision counts in stages, such as '2.0'.
        expands: Whether it has an expansion.
        with_se: Whether it has a squeeze-and-excitation.
    """

    ours: str
    timm: str
    position: int | str
    expands: bool
    with_se: bool = False

    @property
    def parts(self) -> list[str]:
        """Our names of its parts, in running order."""
        optional = {'expand_conv': self.expands, 'se': self.with_se}
        parts = ('expand_conv', 'depthwise_conv', 'se', 'linear_conv')
        return [part for part in parts if optional.get(part, True)]


def mobilenet_v2_key_mappings(blocks: Sequence[BlockNames]) -> tuple[KeyMapping, ...]:
    """Returns the mappings of MobileNetV2.

    Args:
        blocks: Every block of the net, in order.
    """
    last = len(blocks) + 1
    return (
        KeyMapping(
            'torchvision',
            r'features\.\d+\.conv\.',
            (
                *conv_and_bn_pairs('conv1', 'features.0'),
                *(pair for block in blocks for pair in _torchvision_v2_block(block)),
                *conv_and_bn_pairs('conv2', f'features.{last}'),
            ),
            dropped=('classifier',),
        ),
        KeyMapping(
            'timm',
            r'conv_stem\.',
            (
                ('conv1.conv', 'conv_stem'),
                ('conv1.bn', 'bn1'),
                *timm_block_pairs(blocks),
                ('conv2.conv', 'conv_head'),
                ('conv2.bn', 'bn2'),
            ),
            dropped=('classifier',),
        ),
        KeyMapping(
            'mmpretrain',
            r'layer\d+\.\d+\.conv\.\d',
            tuple(
                (f'{block.ours}.{part}', f'{block.ours}.conv.{k}')
                for block in blocks
                for k, part in enumerate(block.parts)
            ),
        ),
    )


def mobilenet_v3_key_mappings(
    blocks: Sequence[BlockNames], timm_stages: int
) -> tuple[KeyMapping, ...]:
    """Returns the mappings of MobileNetV3.

    Args:
        blocks: Every block of the net, in order.
        timm_stages: Number of stages that hold them in timm.
    """
    last = len(blocks) + 1
    return (
        KeyMapping(
            'torchvision',
            r'features\.\d+\.block\.',
            (
                *conv_and_bn_pairs('layer0', 'features.0'),
                *torchvision_block_pairs(blocks),
                *conv_and_bn_pairs(f'layer{last}', f'features.{last}'),
            ),
            dropped=('classifier',),
        ),
        KeyMapping(
            'timm',
            r'conv_stem\.',
            (
                ('layer0.conv', 'conv_stem'),
                ('layer0.bn', 'bn1'),
                *timm_block_pairs(blocks),
                (f'layer{last}.conv', f'blocks.{timm_stages}.0.conv'),
                (f'layer{last}.bn', f'blocks.{timm_stages}.0.bn1'),
            ),
            # timm's last convolution stands behind the pooling, so it is the classifier's.
            dropped=('conv_head', 'classifier'),
        ),
    )


MOBILENET_V3_PUBLISHED = (
    Published(
        'torchvision',
        'mobilenet_v3_*',
        'mobilenet_v3',
        'torchvision',
        {PADDING: 'symmetric', EPS: 1e-3},
    ),
    Published('timm', 'tf_mobilenetv3_*', 'tf_mobilenetv3', 'timm', {PADDING: 'same', EPS: 1e-3}),
    Published(
        'timm',
        'mobilenetv3_rw',
        'mobilenetv3_rw',
        'timm',
        other='their squeeze-and-excitations have other widths',
        only_named=True,
    ),
    Published('timm', 'mobilenetv3_*', 'mobilenetv3_', 'timm', {PADDING: 'symmetric', EPS: 1e-5}),
    Published(
        'mmpretrain',
        'mobilenet-v3-small-050 and -075',
        'mobilenet_v3_small_0(50|75)_3rdparty',
        None,
        {PADDING: 'symmetric', EPS: 1e-5},
    ),
)


def timm_block_pairs(blocks: Iterable[BlockNames]) -> Pairs:
    """Returns our names and timm's in inverted residuals, whose norms timm numbers by place."""
    for block in blocks:
        ours, theirs = block.ours, block.timm
        convs = ('conv_pw', 'conv_dw', 'conv_pwl') if block.expands else ('conv_dw', 'conv_pw')
        parts = [part for part in block.parts if part != 'se']
        for i, (conv, part) in enumerate(zip(convs, parts, strict=True), 1):
            yield f'{ours}.{part}.conv', f'{theirs}.{conv}'
            yield f'{ours}.{part}.bn', f'{theirs}.bn{i}'
        yield f'{ours}.se.conv1.conv', f'{theirs}.se.conv_reduce'
        yield f'{ours}.se.conv2.conv', f'{theirs}.se.conv_expand'


def torchvision_block_pairs(blocks: Iterable[BlockNames]) -> Pairs:
    """Returns our names and torchvision's in inverted residuals since MobileNetV3."""
    for block in blocks:
        for k, part in enumerate(block.parts):
            theirs = f'features.{block.position}.block.{k}'
            if part == 'se':
                yield f'{block.ours}.se.conv1.conv', f'{theirs}.fc1'
                yield f'{block.ours}.se.conv2.conv', f'{theirs}.fc2'
            else:
                yield from conv_and_bn_pairs(f'{block.ours}.{part}', theirs)


def _torchvision_v2_block(block: BlockNames) -> Pairs:
    theirs = f'features.{block.position}.conv'
    *convs, linear = block.parts
    for k, part in enumerate(convs):
        yield from conv_and_bn_pairs(f'{block.ours}.{part}', f'{theirs}.{k}')
    # The projection and its norm have no container of their own.
    for k, layer in enumerate(('conv', 'bn'), len(convs)):
        yield f'{block.ours}.{linear}.{layer}', f'{theirs}.{k}'


def conv_and_bn_pairs(ours: str, theirs: str) -> Pairs:
    """Returns the names of a convolution and its norm, which torchvision numbers."""
    yield f'{ours}.conv', f'{theirs}.0'
    yield f'{ours}.bn', f'{theirs}.1'
