"""EfficientNet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS

from mmblocks.backbones.arch import resolve_arch
from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.classifier import (
    optional_classifier,
    outputs_with_classifier,
    pooled_linear,
)
from mmblocks.backbones.drop_path import drop_path_rates
from mmblocks.backbones.efficientnet_keys import efficientnet_key_mappings, efficientnet_published
from mmblocks.backbones.init_cfg import DEPTHWISE_INIT_CFG
from mmblocks.backbones.mobilenet_keys import BlockNames
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.edge_residual import EdgeResidual
from mmblocks.layers.inverted_residual import InvertedResidual
from mmblocks.utils.accepted import FACTOR, Accepted
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import register_key_mappings

# Of small values Swish lets half through, and so does a fresh squeeze-and-excitation: a larger gain
# makes up for both, so that a signal reaches the end of a net that has them.
_GATED_INIT_CFG = [
    dict(cfg, nonlinearity='tanh') if cfg['type'] == 'Kaiming' else cfg
    for cfg in DEPTHWISE_INIT_CFG
]


class _Stage(NamedTuple):
    block: type[InvertedResidual] | type[EdgeResidual]
    kernel_size: int
    expand_ratio: int
    channels: int
    depth: int
    stride: int
    with_se: bool
    # The first stage behind EdgeTPU's stem expands as if its input were as wide as its output,
    # and has no shortcuts.
    is_entry: bool = False


class _Arch(NamedTuple):
    family: str
    widen_factor: float
    deepen_factor: float
    # In front of the classifier.
    drop_rate: float = 0.2


class _Block(NamedTuple):
    settings: _Stage
    group: int
    stride: int
    drop_path_rate: float
    names: BlockNames


@MODELS.register_module()
class EfficientNet(BaseBackbone):
    """`EfficientNet <https://arxiv.org/abs/1905.11946>`_, and its kin for the EdgeTPU.

    The EdgeTPU's 'es', 'em' and 'el' are of `a paper of their own
    <https://arxiv.org/abs/2003.02838>`_. Arguments and state-dict keys are mmdet's and
    mmpretrain's. Their groups, which ``out_indices`` and ``frozen_stages`` count, are: 0 the stem
    (stride 2), 1 to 5 the blocks of strides 2, 4, 8, 16 and 32, 6 the 1x1 convolution behind them
    (stride 32). Weights of torchvision, timm and mmpretrain load as they are. No checkpoint
    says how its net pads and which ``eps`` its norms have; these give the same maps:

    ============================================  =================  ======================
    weights                                       conv_cfg           norm_cfg
    ============================================  =================  ======================
    mmdet, mmpretrain, timm ``tf_efficientnet_``  the default        the default
    timm ``efficientnet_``, torchvision b0 to b4  None               ``dict(type='BN')``
    torchvision b5 to b7                          None               the default
    ============================================  =================  ======================

    The published weights of the EdgeTPU's nets all need ``act_cfg=dict(type='ReLU')``. 'el' is
    timm's: the other two count the expansion of its first block from the stem, for which there
    are no weights. mmdet strides in the wrong convolution of its edge residuals, so that its
    maps of 'es' and 'em' are not these.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: 'b0' to 'b8', 'l2', 'es', 'em' or 'el'; or a dict of ``family`` ('b' or 'e'),
            ``widen_factor`` and ``deepen_factor``, by which its b0 or es is scaled.
        out_indices: Which groups give an output, 0 to 6. Default: the last one, or with a
            classifier none. A pyramid takes (2, 3, 4, 5), strides 4 to 32, or (3, 4, 5).
        frozen_stages: -1 freezes nothing, k the groups 0 to k. mmdet's k are the first k groups,
            so its 0 freezes nothing.
        conv_cfg: Convolution layers; the default pads as TensorFlow does, None is Conv2d.
        act_cfg: Activation; None for none. ``dict(type='SiLU')`` is the same function as the
            default and needs less memory in training.
        drop_rate: Dropout rate in front of the classifier. Default: the paper's, from 0.2 of b0
            to 0.5 of b7; of a dict 0.2.

    Example:
        >>> import torch
        >>> net = EfficientNet('b0', out_indices=(2, 3, 4, 5))
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 24, 16, 16), (1, 40, 8, 8), (1, 112, 4, 4), (1, 320, 2, 2)]
    """

    variants = tuple(
        Variant(f'EfficientNet-{arch}', dict(arch=arch, out_indices=(2, 3, 4, 5)), libraries)
        for archs, libraries in (
            (
                ('b0', 'b1', 'b2', 'b3', 'b4', 'b5', 'b6', 'b7'),
                ('mmdet', 'mmpretrain', 'torchvision', 'timm'),
            ),
            (('b8',), ('mmdet', 'mmpretrain', 'timm')),
            (('es', 'em'), ('mmpretrain', 'timm')),
            (('el',), ('timm',)),
        )
        for arch in archs
    )
    default_init_cfg = DEPTHWISE_INIT_CFG
    stem_channels: ClassVar[int] = 32
    last_channels: ClassVar[int] = 1280
    families: ClassVar[dict[str, tuple[_Stage, ...]]] = {
        # block, kernel_size, expand_ratio, channels, depth, stride, with_se
        'b': (
            _Stage(InvertedResidual, 3, 1, 16, 1, 1, True),
            _Stage(InvertedResidual, 3, 6, 24, 2, 2, True),
            _Stage(InvertedResidual, 5, 6, 40, 2, 2, True),
            _Stage(InvertedResidual, 3, 6, 80, 3, 2, True),
            _Stage(InvertedResidual, 5, 6, 112, 3, 1, True),
            _Stage(InvertedResidual, 5, 6, 192, 4, 2, True),
            _Stage(InvertedResidual, 3, 6, 320, 1, 1, True),
        ),
        'e': (
            _Stage(EdgeResidual, 3, 4, 24, 1, 1, False, is_entry=True),
            _Stage(EdgeResidual, 3, 8, 32, 2, 2, False),
            _Stage(EdgeResidual, 3, 8, 48, 4, 2, False),
            _Stage(InvertedResidual, 5, 8, 96, 5, 2, False),
            _Stage(InvertedResidual, 5, 8, 144, 4, 1, False),
            _Stage(InvertedResidual, 5, 8, 192, 2, 2, False),
        ),
    }
    arch_settings: ClassVar[dict[str, _Arch]] = {
        'b0': _Arch('b', 1.0, 1.0),
        'b1': _Arch('b', 1.0, 1.1),
        'b2': _Arch('b', 1.1, 1.2, 0.3),
        'b3': _Arch('b', 1.2, 1.4, 0.3),
        'b4': _Arch('b', 1.4, 1.8, 0.4),
        'b5': _Arch('b', 1.6, 2.2, 0.4),
        'b6': _Arch('b', 1.8, 2.6, 0.5),
        'b7': _Arch('b', 2.0, 3.1, 0.5),
        'b8': _Arch('b', 2.2, 3.6, 0.5),
        'l2': _Arch('b', 4.3, 5.3, 0.5),
        'es': _Arch('e', 1.0, 1.0),
        'em': _Arch('e', 1.0, 1.1),
        'el': _Arch('e', 1.2, 1.4, 0.3),
    }

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'b0',
        drop_path_rate: float = 0.0,
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = dict(type='mmblocks.Conv2dSamePadding'),
        norm_cfg: ConfigType | None = dict(type='BN', eps=1e-3),
        act_cfg: ConfigType | None = dict(type='Swish'),
        norm_eval: bool = False,
        with_cp: bool | str = False,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        plugins: Sequence[ConfigType] | None = None,
        num_classes: int = -1,
        drop_rate: float | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(EfficientNet, locals())
        families = list(self.families)
        settings = resolve_arch(
            arch,
            self.arch_settings,
            family=Accepted(
                lambda name: name in list(self.families), f'one of {list(self.families)}'
            ),
            widen_factor=FACTOR,
            deepen_factor=FACTOR,
        )
        drop_rate = settings.drop_rate if drop_rate is None else drop_rate
        stages = self.families[settings.family]
        if init_cfg is None and any(stage.with_se for stage in stages):
            init_cfg = _GATED_INIT_CFG
        out_indices = outputs_with_classifier(num_classes, out_indices, 6)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        self.arch = arch
        self.widen_factor = settings.widen_factor
        blocks = list(_blocks(stages, settings.deepen_factor, drop_path_rate))
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        groups = self._groups(in_channels, blocks, layers)
        classifier = optional_classifier(
            num_classes, pooled_linear, name='classifier', drop_rate=drop_rate
        )
        self.add_groups(groups, blocks[-1].group + 2, classifier)
        fused = [block.names for block in blocks if block.settings.block is EdgeResidual]
        inverted = [block.names for block in blocks if block.settings.block is InvertedResidual]
        register_key_mappings(
            self,
            efficientnet_key_mappings(
                inverted, fused, len(stages), blocks[-1].group + 1, with_classifier=num_classes > 0
            ),
        )
        name = arch if isinstance(arch, str) else None
        self.published = efficientnet_published(name, settings.family)

    def _widened(self, channels: int) -> int:
        return make_divisible(channels * self.widen_factor, 8)

    def _groups(
        self, in_channels: int, blocks: list[_Block], layers: ConfigType
    ) -> Iterator[Group]:
        channels, stride = self._widened(self.stem_channels), 2
        stem = ConvModule(in_channels, channels, 3, stride=stride, padding=1, **layers)
        yield Group({'layers.0': stem}, channels, stride)
        for i, blocks_of_group in groupby(blocks, key=lambda block: block.group):
            modules = Sequential()
            for block in blocks_of_group:
                modules.append(self._block(block, channels, layers))
                channels = self._widened(block.settings.channels)
                stride *= block.stride
            yield Group({f'layers.{i}': modules}, channels, stride)
        last_channels = self._widened(self.last_channels)
        last = ConvModule(channels, last_channels, 1, **layers)
        yield Group({f'layers.{i + 1}': last}, last_channels, stride)

    def _block(
        self, block: _Block, in_channels: int, layers: ConfigType
    ) -> InvertedResidual | EdgeResidual:
        settings = block.settings
        channels = self._widened(settings.channels)
        options = dict(layers, drop_path_rate=block.drop_path_rate)
        if settings.with_se:
            # A quarter of the block's input, whatever it expands to.
            options['se_cfg'] = dict(
                squeeze_channels=in_channels // 4,
                act_cfg=(layers['act_cfg'], dict(type='Sigmoid')),
            )
        if settings.is_entry:
            options['with_residual'] = False
        return settings.block(
            in_channels,
            channels,
            (channels if settings.is_entry else in_channels) * settings.expand_ratio,
            settings.kernel_size,
            block.stride,
            **options,
        )


def _blocks(
    stages: Sequence[_Stage], deepen_factor: float, drop_path_rate: float
) -> Iterator[_Block]:
    depths = [math.ceil(stage.depth * deepen_factor) for stage in stages]
    rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
    group = index_in_group = 0
    for i, (stage, depth) in enumerate(zip(stages, depths, strict=True)):
        # A stage that keeps the size stands in the group of the one before it.
        if i == 0 or stage.stride > 1:
            group, index_in_group = group + 1, 0
        for j in range(depth):
            names = BlockNames(
                ours=f'layers.{group}.{index_in_group}',
                timm=f'blocks.{i}.{j}',
                position=f'{i + 1}.{j}',
                expands=stage.expand_ratio != 1,
                with_se=stage.with_se,
            )
            stride = stage.stride if j == 0 else 1
            yield _Block(stage, group, stride, next(rates), names)
            index_in_group += 1
