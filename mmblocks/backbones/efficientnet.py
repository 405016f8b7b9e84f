"""EfficientNet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.classifier import outputs_with_classifier, pooled_linear
from mmblocks.backbones.depthwise_init import DEPTHWISE_INIT_CFG
from mmblocks.backbones.efficientnet_keys import (
    efficientnet_key_mappings,
    efficientnet_published,
)
from mmblocks.backbones.mobilenet_keys import BlockNames
from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.edge_residual import EdgeResidual
from mmblocks.layers.inverted_residual import InvertedResidual
from mmblocks.utils.checks import check_arguments, is_number
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
    """A block in its place: of which stage and group, and the how-manyth there."""

    stage: int
    place: int
    group: int
    place_in_group: int
    settings: _Stage
    drop_path_rate: float

    @property
    def names(self) -> BlockNames:
        return BlockNames(
            ours=f'layers.{self.group}.{self.place_in_group}',
            timm=f'blocks.{self.stage}.{self.place}',
            position=f'{self.stage + 1}.{self.place}',
            expands=self.settings.expand_ratio != 1,
            with_se=self.settings.with_se,
        )


@MODELS.register_module()
class EfficientNet(BaseBackbone):
    """`EfficientNet <https://arxiv.org/abs/1905.11946>`_, and its kin for the EdgeTPU.

    The EdgeTPU's 'es', 'em' and 'el' are of `a paper of their own
    <https://arxiv.org/abs/2003.02838>`_. Arguments and state-dict keys are mmdet's and
    mmpretrain's. Their groups, which ``out_indices`` and ``frozen_stages`` count, are: 0 the stem
    (stride 2), 1 to 5 the blocks of strides 2, 4, 8, 16 and 32, 6 the 1x1 convolution behind them
    (stride 32). Groups behind the last output are not built. Weights of torchvision, timm and
    mmpretrain load as they are, and those of a classifier that was not asked for are dropped. How
    a net pads and what its norms add to the variance is in no checkpoint; these give the same
    maps:

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

    Args:
        arch: 'b0' to 'b8', 'l2', 'es', 'em' or 'el'; or a dict of ``family`` ('b' or 'e'),
            ``widen_factor`` and ``deepen_factor``, by which its b0 or es is scaled.
        drop_path_rate: Share of the samples that skip the last block in training, at least 0 and
            below 1; from the first block on, where it is 0, it grows in equal steps.
        out_indices: Which groups give an output, 0 to 6. Default: the last one, or with a
            classifier none. A detector with a pyramid asks for (2, 3, 4, 5), strides 4 to 32, or
            for (3, 4, 5).
        frozen_stages: -1 freezes nothing, k the groups 0 to k. mmdet's k are the first k groups,
            so its 0 freezes nothing.
        conv_cfg: Convolution layers; the default pads as TensorFlow does, None is Conv2d.
        norm_cfg: Norm layers; None for none, behind convolutions with bias.
        act_cfg: Activation; None for none. ``dict(type='SiLU')`` is the same function as the
            default and needs less memory in training.
        norm_eval: Keep BatchNorm in eval mode during training.
        with_cp: Recompute each block's activations in backward to save memory.
        init_cfg: MMEngine's initialisation config; default: Kaiming for the convolutions.
        in_channels: Channels of the images.
        plugins: Modules to insert; see :class:`BaseBackbone`.
        replace_convs: Layers to put in place of convolutions; see :class:`BaseBackbone`.
        num_classes: Classes of the classifier; -1 for feature maps only.
        drop_rate: Share of the values in front of the classifier that are zeroed in training.
            Default: the paper's, from 0.2 of b0 to 0.5 of b7; of a dict 0.2.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import torch
        >>> net = EfficientNet('b0', out_indices=(2, 3, 4, 5))
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 24, 16, 16), (1, 40, 8, 8), (1, 112, 4, 4), (1, 320, 2, 2)]
    """

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
        with_cp: bool = False,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        plugins: Sequence[ConfigType] | None = None,
        num_classes: int = -1,
        drop_rate: float | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(EfficientNet, locals())
        settings = self._settings(arch)
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
        classifier = pooled_linear('classifier', num_classes, drop_rate)
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

    @classmethod
    def _settings(cls, arch: str | Mapping[str, Any]) -> _Arch:
        scaling = [name for name in _Arch._fields if name not in _Arch._field_defaults]
        if isinstance(arch, Mapping):
            if set(arch) != set(scaling):
                raise ValueError(f'arch={arch}: its keys must be {scaling}')
            settings = _Arch(**arch)
            if settings.family not in list(cls.families):
                raise ValueError(f'arch={arch}: family must be one of {list(cls.families)}')
            factors = (settings.widen_factor, settings.deepen_factor)
            if not all(is_number(factor) and factor > 0 for factor in factors):
                raise ValueError(f'arch={arch}: the factors must be above 0')
            return settings
        if arch not in list(cls.arch_settings):
            raise ValueError(
                f'arch={arch!r}: must be one of {list(cls.arch_settings)} or a dict of '
                f'{", ".join(scaling)}'
            )
        return cls.arch_settings[arch]

    def _widened(self, channels: int) -> int:
        return make_divisible(channels * self.widen_factor, 8)

    def _groups(
        self, in_channels: int, blocks: list[_Block], layers: ConfigType
    ) -> Iterator[Group]:
        channels = self._widened(self.stem_channels)
        stride = 2
        stem = ConvModule(in_channels, channels, 3, stride=stride, padding=1, **layers)
        yield Group({'layers.0': stem}, channels, stride)
        group = Sequential()
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            group.append(self._block(block, channels, layers))
            channels = self._widened(block.settings.channels)
            stride *= _stride(block)
            if following is None or following.group > block.group:
                yield Group({f'layers.{block.group}': group}, channels, stride)
                group = Sequential()
        last_channels = self._widened(self.last_channels)
        last = ConvModule(channels, last_channels, 1, **layers)
        yield Group({f'layers.{block.group + 1}': last}, last_channels, stride)

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
            _stride(block),
            **options,
        )


def _stride(block: _Block) -> int:
    return block.settings.stride if block.place == 0 else 1


def _blocks(
    stages: Sequence[_Stage], deepen_factor: float, drop_path_rate: float
) -> Iterator[_Block]:
    """Returns every block in order; stages that keep the size stand in the group before them."""
    depths = [math.ceil(stage.depth * deepen_factor) for stage in stages]
    last = sum(depths) - 1
    group = position = place_in_group = 0
    for i, (stage, depth) in enumerate(zip(stages, depths, strict=True)):
        if i == 0 or stage.stride > 1:
            group += 1
            place_in_group = 0
        for place in range(depth):
            rate = drop_path_rate * position / last
            yield _Block(i, place, group, place_in_group, stage, rate)
            position += 1
            place_in_group += 1
