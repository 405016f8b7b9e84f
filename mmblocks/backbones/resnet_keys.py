"""How other libraries name the tensors of ResNet and its relatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmblocks.backbones.traits import STYLE
from mmblocks.weights.key_mapping import KeyMapping
from mmblocks.weights.published import Published

_REFUSED = (
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
)
_SE = r'layer\d\.\d+\.se\.fc1\.'
_SE_IN_A_NET_WITHOUT = KeyMapping(
    'timm (SE)',
    _SE,
    refused='its blocks have squeeze-and-excitations that this net lacks, so the outputs would '
    'differ; SEResNet takes those with the stem of a plain ResNet',
)


def resnet_key_mappings(
    stage_blocks: Sequence[int],
    strides: Sequence[int],
    deep_stem: bool,
    avg_down: bool,
    with_se: bool = False,
) -> tuple[KeyMapping, ...]:
    """Returns the mappings of ResNet and its relatives.

    Args:
        stage_blocks: Number of blocks of each stage, built or not.
        strides: Stride of each stage that is built.
        deep_stem: Whether the stem has three convolutions.
        avg_down: Whether shortcuts downsample by pooling.
        with_se: Whether the blocks have squeeze-and-excitations.
    """
    timm_se = tuple(
        (f'layer{i}.{j}.se_layer.conv{k}.conv', f'layer{i}.{j}.se.fc{k}')
        for i, num_blocks in enumerate(stage_blocks, 1)
        for j in range(num_blocks)
        for k in (1, 2)
    )
    detectron2 = tuple(_detectron2_pairs(stage_blocks))
    fc = ('fc',)
    return (
        *(() if with_se else (_SE_IN_A_NET_WITHOUT,)),
        KeyMapping('detectron2', r'stem\.conv1\.weight|res2\.0\.', detectron2),
        *_REFUSED,
        # mmpretrain has nets with both or the deep stem alone.
        *_mmpretrain_key_mappings(strides if deep_stem and avg_down else ()),
        KeyMapping(
            'timm (deep stem)',
            r'conv1\.0\.weight',
            (('stem', 'conv1'), ('stem.7', 'bn1'), *timm_se),
            fc,
        ),
        KeyMapping('timm (SE)', _SE, timm_se, fc),
        KeyMapping('torchvision', r'fc\.weight', dropped=fc),
    )


def _detectron2_pairs(stage_blocks: Sequence[int]) -> Iterator[tuple[str, str]]:
    yield 'conv1', 'stem.conv1'
    yield 'bn1', 'stem.conv1.norm'
    for i, num_blocks in enumerate(stage_blocks, 1):
        ours, theirs = f'layer{i}', f'res{i + 1}'
        yield ours, theirs
        yield f'{ours}.0.downsample.0', f'{theirs}.0.shortcut'
        yield f'{ours}.0.downsample.1', f'{theirs}.0.shortcut.norm'
        for j in range(num_blocks):
            for k in (1, 2, 3):
                yield f'{ours}.{j}.bn{k}', f'{theirs}.{j}.conv{k}.norm'


def _mmpretrain_key_mappings(strides: Sequence[int]) -> Iterator[KeyMapping]:
    """Returns the mappings of deep stems, and of shortcuts that downsample by pooling.

    mmpretrain leaves the pool out, and so its number, in stages of stride 1. Which ones those are
    is up to the net that the weights are from, which can be dilated where this one is not. The
    last stage with a pool shows it: without are those behind it, and mostly the first.

    Args:
        strides: Stride of each stage; none where shortcuts do not pool.
    """
    name, marker = 'mmpretrain (deep stem)', r'stem\.0\.conv\.'
    stem = tuple(
        (f'stem.{3 * i + k}', f'stem.{i}.{layer}')
        for i in (0, 1, 2)
        for k, layer in enumerate(('conv', 'bn'))
    )
    without_pool = [i for i, stride in enumerate(strides, 1) if stride == 1]
    last_pool = max({2, 3, 4}.difference(without_pool), default=0)
    for last in (4, 3, 2) if strides else ():
        first = [1] if strides[0] == 1 else []
        stages = without_pool if last == last_pool else [*first, *range(last + 1, 5)]
        is_own = without_pool == [i for i in stages if i <= len(strides)]
        shortcuts = (
            (f'layer{i}.0.downsample.{k + 1}', f'layer{i}.0.downsample.{k}')
            for i in stages
            for k in (0, 1)
        )
        yield KeyMapping(
            name if is_own else 'mmpretrain with other strides (deep stem)',
            marker,
            (*stem, *shortcuts),
            also=rf'layer{last}\.0\.downsample\.2\.',
        )
    yield KeyMapping(name, marker, stem)


_STYLES = (
    Published('mmdet', '*_caffe', r'(resnet|r)\d+_(caffe|msra)', None, {STYLE: 'caffe'}),
    Published(
        'detectron2',
        'MSRA R-50 and R-101, and detectors that start from them',
        r'msra_r_\d+|r_(50|101)_(fpn|c4|dc5)_[13]x',
        'detectron2',
        {STYLE: 'caffe'},
    ),
    Published(
        'detectron2',
        'X-101-32x8d, and ResNets converted from torchvision',
        r'x_101|torchvision_r',
        'detectron2',
        {STYLE: 'pytorch'},
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
