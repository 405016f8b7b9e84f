"""How other libraries name the tensors of the MobileNets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mmblocks.weights.key_mapping import KeyMapping, Rule
from mmblocks.weights.published import Published

CLASSIFIER: Rule = (r'classifier\.', None)

MOBILENET_V1_KEY_MAPPINGS = (KeyMapping('timm', CLASSIFIER[0], (CLASSIFIER,)),)


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
                *conv_and_bn_rules('features.0', 'conv1'),
                *(rule for block in blocks for rule in _torchvision_v2_block(block)),
                *conv_and_bn_rules(f'features.{last}', 'conv2'),
                CLASSIFIER,
            ),
        ),
        KeyMapping(
            'timm',
            r'conv_stem\.',
            (
                *timm_stem_rules('conv1'),
                *timm_block_rules(blocks),
                (r'conv_head\.', 'conv2.conv.'),
                (r'bn2\.', 'conv2.bn.'),
                CLASSIFIER,
            ),
        ),
        KeyMapping(
            'mmpretrain',
            r'layer\d+\.\d+\.conv\.\d',
            tuple(
                (rf'{re.escape(block.ours)}\.conv\.{k}\.', f'{block.ours}.{part}.')
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
                *conv_and_bn_rules('features.0', 'layer0'),
                *torchvision_block_rules(blocks),
                *conv_and_bn_rules(f'features.{last}', f'layer{last}'),
                CLASSIFIER,
            ),
        ),
        KeyMapping(
            'timm',
            r'conv_stem\.',
            (
                *timm_stem_rules('layer0'),
                *timm_block_rules(blocks),
                (rf'blocks\.{timm_stages}\.0\.conv\.', f'layer{last}.conv.'),
                (rf'blocks\.{timm_stages}\.0\.bn1\.', f'layer{last}.bn.'),
                # This convolution stands behind the pooling, so it is the classifier's.
                (r'conv_head\.', None),
                CLASSIFIER,
            ),
        ),
    )


MOBILENET_V3_PUBLISHED = (
    Published(
        'torchvision',
        'mobilenet_v3_*',
        'mobilenet_v3',
        'torchvision',
        dict(padding='symmetric', eps=1e-3),
    ),
    Published('timm', 'tf_mobilenetv3_*', 'tf_mobilenetv3', 'timm', dict(padding='same', eps=1e-3)),
    Published(
        'timm',
        'mobilenetv3_rw',
        'mobilenetv3_rw',
        'timm',
        other='their squeeze-and-excitations have other widths',
        only_named=True,
    ),
    Published('timm', 'mobilenetv3_*', 'mobilenetv3_', 'timm', dict(padding='symmetric', eps=1e-5)),
    Published(
        'mmpretrain',
        'mobilenet-v3-small-050 and -075',
        'mobilenet_v3_small_0(50|75)_3rdparty',
        None,
        dict(padding='symmetric', eps=1e-5),
    ),
)


def timm_block_rules(blocks: Iterable[BlockNames]) -> Iterator[Rule]:
    """Returns the rules for inverted residuals of timm, which numbers norms by place."""
    for block in blocks:
        theirs = re.escape(block.timm)
        convs = ('conv_pw', 'conv_dw', 'conv_pwl') if block.expands else ('conv_dw', 'conv_pw')
        parts = [part for part in block.parts if part != 'se']
        for i, (conv, part) in enumerate(zip(convs, parts, strict=True), 1):
            yield rf'{theirs}\.{conv}\.', f'{block.ours}.{part}.conv.'
            yield rf'{theirs}\.bn{i}\.', f'{block.ours}.{part}.bn.'
        yield rf'{theirs}\.se\.conv_reduce\.', f'{block.ours}.se.conv1.conv.'
        yield rf'{theirs}\.se\.conv_expand\.', f'{block.ours}.se.conv2.conv.'


def torchvision_block_rules(blocks: Iterable[BlockNames]) -> Iterator[Rule]:
    """Returns the rules for inverted residuals of torchvision since MobileNetV3."""
    for block in blocks:
        for k, part in enumerate(block.parts):
            theirs = f'features.{block.position}.block.{k}'
            if part == 'se':
                yield rf'{re.escape(theirs)}\.fc([12])\.', rf'{block.ours}.se.conv\1.conv.'
            else:
                yield from conv_and_bn_rules(theirs, f'{block.ours}.{part}')


def _torchvision_v2_block(block: BlockNames) -> Iterator[Rule]:
    theirs = f'features.{block.position}.conv'
    *convs, linear = block.parts
    for k, part in enumerate(convs):
        yield from conv_and_bn_rules(f'{theirs}.{k}', f'{block.ours}.{part}')
    # The projection and its norm have no container of their own.
    for k, layer in enumerate(('conv', 'bn'), len(convs)):
        yield re.escape(f'{theirs}.{k}.'), f'{block.ours}.{linear}.{layer}.'


def conv_and_bn_rules(theirs: str, ours: str) -> Iterator[Rule]:
    """Returns the rules for a convolution and its norm that torchvision has in one container."""
    for k, layer in enumerate(('conv', 'bn')):
        yield re.escape(f'{theirs}.{k}.'), f'{ours}.{layer}.'


def timm_stem_rules(ours: str) -> Iterator[Rule]:
    """Returns the rules for the first convolution of timm's nets and its norm."""
    yield r'conv_stem\.', f'{ours}.conv.'
    yield r'bn1\.', f'{ours}.bn.'
