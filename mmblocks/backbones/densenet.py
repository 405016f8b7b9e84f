"""DenseNet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from mmcv.cnn import build_activation_layer
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.arch import resolve_arch
from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.classifier import (
    mmpretrain_classifier,
    optional_classifier,
    outputs_with_classifier,
    pooled_linear,
)
from mmblocks.backbones.conv_norm import conv_norm_act
from mmblocks.backbones.variant import Variant
from mmblocks.layers.dense_block import DenseBlock, DenseTransition
from mmblocks.layers.norm import build_norm
from mmblocks.utils.accepted import COUNT, COUNTS
from mmblocks.utils.checks import check_arguments, share_of
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import KeyMapping, register_key_mappings


class _Arch(NamedTuple):
    growth_rate: int
    depths: tuple[int, ...]
    init_channels: int


@MODELS.register_module()
class DenseNet(BaseBackbone):
    """`Densely connected convolutional networks <https://arxiv.org/abs/1608.06993>`_.

    Arguments are mmpretrain's, state-dict keys torchvision's; the weights of torchvision (old
    ones too), timm and mmpretrain load as they are. Map i is the end of dense block i, stride 4, 8,
    16 or 32; behind the last block stand its norm and activation. mmpretrain gives what the
    transition behind a block makes of it, at half the size, so only its last map is the same. The
    transitions do not pad, so half of an odd size is rounded down.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: '121', '161', '169' or '201', also as a number; or a dict of ``growth_rate``
            (channels that each layer adds), ``depths`` (layers of each dense block) and
            ``init_channels`` (of the stem).
        bn_size: Channels between the convolutions of a layer, per channel that it adds.
        drop_rate: Dropout rate behind each layer.
        compression_factor: Output channels of a transition per input channel, above 0, up to 1.
        memory_efficient: Keep the joined inputs of the layers out of the memory for backward and
            compute them again, as in `Memory-efficient implementation of DenseNets
            <https://arxiv.org/abs/1707.06990>`_. ``with_cp`` alone holds a whole dense block
            while its gradient is computed; together they need the least memory.
        out_indices: Which of the maps to give, 0 to 3. Default: the last one, as in mmpretrain,
            or with a classifier none. A pyramid takes (0, 1, 2, 3) or (1, 2, 3).
        frozen_stages: A transition is frozen with the dense block behind it. mmpretrain's 0
            freezes nothing.

    Example:
        >>> import torch
        >>> net = DenseNet('121', out_indices=(0, 1, 2, 3))
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 256, 16, 16), (1, 512, 8, 8), (1, 1024, 4, 4), (1, 1024, 2, 2)]
    """

    variants = tuple(
        Variant(
            f'DenseNet-{arch}',
            dict(arch=arch, out_indices=(0, 1, 2, 3)),
            ('torchvision', 'timm', 'mmpretrain'),
        )
        for arch in ('121', '161', '169', '201')
    )
    arch_settings: ClassVar[dict[str, _Arch]] = {
        '121': _Arch(32, (6, 12, 24, 16), 64),
        '161': _Arch(48, (6, 12, 36, 24), 96),
        '169': _Arch(32, (6, 12, 32, 32), 64),
        '201': _Arch(32, (6, 12, 48, 32), 64),
    }

    def __init__(
        self,
        arch: str | int | Mapping[str, Any] = '121',
        in_channels: int = 3,
        bn_size: int = 4,
        drop_rate: float = 0,
        compression_factor: float = 0.5,
        memory_efficient: bool = False,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU'),
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        init_cfg: MultiConfig | None = None,
        norm_eval: bool = False,
        with_cp: bool | str = False,
        conv_cfg: ConfigType | None = None,
        num_classes: int = -1,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(DenseNet, locals())
        out_indices = outputs_with_classifier(num_classes, out_indices, -1)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        settings = resolve_arch(
            arch, self.arch_settings, growth_rate=COUNT, depths=COUNTS, init_channels=COUNT
        )
        self.arch = arch
        if norm_cfg is not None and act_cfg == dict(type='ReLU'):
            # What a norm gives may be overwritten; without, it would be maps that are outputs.
            act_cfg = dict(act_cfg, inplace=True)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        block_options = dict(
            layers,
            growth_rate=settings.growth_rate,
            bn_size=bn_size,
            drop_rate=drop_rate,
            memory_efficient=memory_efficient,
        )
        groups = self._groups(in_channels, settings, compression_factor, block_options, layers)
        classifier = optional_classifier(num_classes, pooled_linear, name='classifier')
        self.add_groups(groups, len(settings.depths), classifier)
        register_key_mappings(self, _key_mappings(settings.depths, with_classifier=num_classes > 0))

    @staticmethod
    def _groups(
        in_channels: int,
        settings: _Arch,
        compression_factor: float,
        block_options: ConfigType,
        layers: ConfigType,
    ) -> Iterator[Group]:
        channels = settings.init_channels
        names = ('features.conv0', 'features.norm0', 'features.act0')
        stem = conv_norm_act(names, in_channels, channels, 7, 2, **layers)
        stem['features.pool0'] = nn.MaxPool2d(3, stride=2, padding=1)
        yield Group(stem, channels, 4, is_output=False)
        for i, depth in enumerate(settings.depths, 1):
            modules: dict[str, nn.Module] = {}
            if i > 1:
                compressed = share_of(channels, compression_factor, 'compression_factor')
                transition = DenseTransition(channels, compressed, **layers)
                modules[f'features.transition{i - 1}'] = transition
                channels = compressed
            block = DenseBlock(depth, channels, **block_options)
            modules[f'features.denseblock{i}'] = block
            channels = block.out_channels
            if i == len(settings.depths):
                # torchvision's name, however many blocks there are.
                modules['features.norm5'] = build_norm(layers['norm_cfg'], channels)[1]
                modules['features.act5'] = build_activation_layer(layers['act_cfg'])
            yield Group(modules, channels, 2 ** (i + 1))


def _key_mappings(depths: Sequence[int], with_classifier: bool) -> tuple[KeyMapping, ...]:
    dropped = () if with_classifier else ('classifier',)
    layers = (
        f'features.denseblock{i}.denselayer{j + 1}'
        for i, depth in enumerate(depths, 1)
        for j in range(depth)
    )
    stages = range(1, len(depths) + 1)
    parts = ['conv0', 'norm0', 'norm5', *(f'denseblock{i}' for i in stages)]
    parts += [f'transition{i}' for i in stages]
    mmpretrain = tuple(_mmpretrain_pairs(depths))
    return (
        *((mmpretrain_classifier(mmpretrain),) if with_classifier else ()),
        KeyMapping(
            'timm (deep stem)',
            r'features\.conv1\.',
            refused='stem and strides are others there, so the outputs would differ',
        ),
        KeyMapping(
            'old torchvision',
            r'features\.denseblock\d+\.denselayer\d+\.(norm|conv)\.[12]\.',
            tuple(
                (f'{layer}.{part}{k}', f'{layer}.{part}.{k}')
                for layer in layers
                for part in ('norm', 'conv')
                for k in (1, 2)
            ),
            dropped,
        ),
        # These two have no classifier; so where there is one here, it is not written.
        KeyMapping('mmpretrain', r'stem\.0\.', mmpretrain, dropped=('classifier',)),
        KeyMapping(
            'timm with features_only',
            r'features_conv0\.',
            tuple((f'features.{part}', f'features_{part}') for part in parts),
            dropped=('classifier',),
        ),
        KeyMapping('torchvision', r'classifier\.', dropped=dropped),
    )


def _mmpretrain_pairs(depths: Sequence[int]) -> Iterator[tuple[str, str]]:
    yield 'features.conv0', 'stem.0'
    yield 'features.norm0', 'stem.1'
    for i, depth in enumerate(depths):
        yield f'features.transition{i + 1}', f'transitions.{i}'
        for j in range(depth):
            yield f'features.denseblock{i + 1}.denselayer{j + 1}', f'stages.{i}.block.{j}'
    # Behind the last block there is a norm only, and it has no name.
    yield 'features.norm5', f'transitions.{len(depths) - 1}.0'
