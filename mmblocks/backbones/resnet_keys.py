"""How other libraries name the tensors of ResNet and its relatives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mmblocks.weights.key_mapping import KeyMapping, Rule
from mmblocks.weights.published import Published


def _detectron2_stage(stage: int) -> tuple[Rule, ...]:
    theirs, ours = rf'res{stage}\.(\d+)\.', rf'layer{stage - 1}.\1.'
    return (
        (rf'{theirs}shortcut\.norm\.', f'{ours}downsample.1.'),
        (rf'{theirs}shortcut\.', f'{ours}downsample.0.'),
        (rf'{theirs}conv(\d)\.norm\.', rf'{ours}bn\2.'),
        (theirs, ours),
    )


_MMPRETRAIN_STEM: tuple[Rule, ...] = tuple(
    (rf'stem\.{i}\.{layer}\.', f'stem.{3 * i + offset}.')
    for i in (0, 1, 2)
    for offset, layer in enumerate(('conv', 'bn'))
)


def _mmpretrain_rules(keys: Iterable[str]) -> tuple[Rule, ...]:
    if not any(re.match(r'layer\d\.0\.downsample\.2\.', key) for key in keys):
        return _MMPRETRAIN_STEM
    stages = [i for i in (1, 2, 3, 4) if f'layer{i}.0.downsample.0.weight' in keys]
    return (*_MMPRETRAIN_STEM, *_without_pool(stages))


def _without_pool(stages: Iterable[int]) -> Iterable[Rule]:
    # With avg_down, mmpretrain leaves the pool out, and so its number, where the stride is 1.
    for stage in stages:
        for i in (0, 1):
            yield rf'layer{stage}\.0\.downsample\.{i}\.', f'layer{stage}.0.downsample.{i + 1}.'


CLASSIFIER: Rule = (r'fc\.', None)
TIMM_SE: tuple[Rule, ...] = (
    (r'(layer\d\.\d+)\.se\.fc1\.', r'\1.se_layer.conv1.conv.'),
    (r'(layer\d\.\d+)\.se\.fc2\.', r'\1.se_layer.conv2.conv.'),
)

_KEY_MAPPINGS = (
    KeyMapping(
        'detectron2',
        r'stem\.conv1\.weight|res2\.0\.',
        (
            (r'stem\.conv1\.norm\.', 'bn1.'),
            (r'stem\.conv1\.', 'conv1.'),
            *(rule for stage in (2, 3, 4, 5) for rule in _detectron2_stage(stage)),
        ),
    ),
    KeyMapping(
        'timm (legacy)',
        r'layer0\.conv1\.|layer\d\.\d+\.se_module\.',
        refused="the stem's max pool is another one there, so the outputs would differ; "
        'SENet takes them',
    ),
    KeyMapping(
        'timm (ECA)',
        r'layer\d\.\d+\.se\.conv\.',
        refused='its blocks have channel attentions that this net lacks, so the outputs would '
        'differ',
    ),
    KeyMapping(
        'timm (ResNet-RS)',
        r'maxpool\.0\.',
        refused='its stem has a convolution in place of the max pool, so the outputs would differ',
    ),
    KeyMapping('mmpretrain (deep stem)', r'stem\.0\.conv\.', _mmpretrain_rules),
    KeyMapping(
        'timm (deep stem)',
        r'conv1\.0\.weight',
        ((r'conv1\.', 'stem.'), (r'bn1\.', 'stem.7.'), *TIMM_SE, CLASSIFIER),
    ),
    KeyMapping('timm (SE)', r'layer\d\.\d+\.se\.fc1\.', (*TIMM_SE, CLASSIFIER)),
    KeyMapping('torchvision', r'fc\.weight', (CLASSIFIER,)),
)


_SE_IN_A_NET_WITHOUT = KeyMapping(
    'timm (SE)',
    r'layer\d\.\d+\.se\.fc1\.',
    refused='its blocks have squeeze-and-excitations that this net lacks, so the outputs would '
    'differ; SEResNet takes those with the stem of a plain ResNet',
)


def resnet_key_mappings(
    strides: Sequence[int], avg_down: bool, with_se: bool = False
) -> tuple[KeyMapping, ...]:
    """Returns the mappings of ResNet and its relatives.

    Args:
        strides: Stride of each stage.
        avg_down: Whether shortcuts downsample by pooling.
        with_se: Whether the blocks have squeeze-and-excitations.
    """
    stages = [i for i, stride in enumerate(strides, 1) if avg_down and stride == 1]
    written = (*_MMPRETRAIN_STEM, *_without_pool(stages))
    mappings = tuple(
        mapping._replace(written=written) if callable(mapping.rules) else mapping
        for mapping in _KEY_MAPPINGS
    )
    return mappings if with_se else (_SE_IN_A_NET_WITHOUT, *mappings)


_STYLES = (
    Published('mmdet', '*_caffe', r'(resnet|r)\d+_(caffe|msra)', None, dict(style='caffe')),
    Published(
        'detectron2',
        'MSRA R-50 and R-101, and detectors that start from them',
        r'msra_r_\d+|r_(50|101)_(fpn|c4|dc5)_[13]x',
        'detectron2',
        dict(style='caffe'),
    ),
    Published(
        'detectron2',
        'X-101-32x8d, and ResNets converted from torchvision',
        r'x_101|torchvision_r',
        'detectron2',
        dict(style='pytorch'),
    ),
)
_OTHER_STEM = Published(
    'timm',
    'resnet*t',
    r'resnet\d+tn?(?![a-z])',
    'timm (deep stem)',
    other='their stems have other widths',
    only_named=True,
)


def resnet_published(
    depth: int, deep_stem: bool, avg_down: bool, plain_blocks: bool
) -> tuple[Published, ...]:
    """Returns what the published weights of ResNet and its relatives need.

    Args:
        depth: Number of layers.
        deep_stem: Whether the stem has three convolutions.
        avg_down: Whether shortcuts downsample by pooling.
        plain_blocks: Whether the blocks are those of a plain ResNet.
    """
    mapping = 'timm (deep stem)' if deep_stem else 'torchvision'
    rows = [*(_STYLES if plain_blocks and not deep_stem else ()), _OTHER_STEM]
    ends = {(False, False): '', (True, True): 'd'}
    # Those that timm has also with a blur or a pooling behind each stride.
    blurred = {'': (18, 50), 'd': (34, 50, 101)}
    end = ends.get((deep_stem, avg_down))
    if end is not None and plain_blocks and depth in blurred[end]:
        rows += [
            Published(
                'timm',
                'resnetaa* and resnetblur*',
                'resnet(aa|blur)',
                mapping,
                other='they blur or pool behind each stride',
            ),
            Published(
                'torchvision or timm' if not end else 'timm',
                f'resnet{depth}{end}',
                'resnet',
                mapping,
            ),
        ]
    return tuple(rows)
