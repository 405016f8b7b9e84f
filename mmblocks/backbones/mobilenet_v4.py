"""MobileNetV4."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.conv_norm import conv_norm, conv_norm_act
from mmblocks.backbones.init_cfg import DEPTHWISE_INIT_CFG
from mmblocks.backbones.output_stride import BlockStride, limit_strides
from mmblocks.backbones.traits import EPS, PADDING
from mmblocks.backbones.variant import Variant
from mmblocks.layers.universal_inverted_residual import UniversalInvertedResidual
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import drop_parts, register_key_mappings
from mmblocks.weights.published import Published

# In timm all of these run after the pooling.
_KEY_MAPPINGS = (drop_parts('timm', 'conv_head', 'norm_head', 'classifier'),)
_PLAIN = Published(
    'timm', 'mobilenetv4_conv_*', 'mobilenetv4_conv_', 'timm', {PADDING: 'symmetric', EPS: 1e-5}
)
# Only conv_medium and conv_large have such relatives.
_BLURRED = Published(
    'timm',
    'mobilenetv4_conv_aa_* and mobilenetv4_conv_blur_*',
    'mobilenetv4_conv_(aa|blur)',
    'timm',
    other='they blur or pool after each stride',
)


class _Conv(NamedTuple):
    """A convolution with norm and activation."""

    channels: int
    kernel_size: int


class _FusedIB(NamedTuple):
    """A 3x3 convolution that expands, and a linear projection."""

    channels: int
    expand_ratio: int


class _UIB(NamedTuple):
    """A universal inverted bottleneck, with the kernels of its depthwise convolutions."""

    channels: int
    start_kernel_size: int | None
    mid_kernel_size: int | None
    expand_ratio: int


_Block = _Conv | _FusedIB | _UIB


class _Arch(NamedTuple):
    """The stem's channels, and the stages, of which each halves the resolution at its start."""

    stem_channels: int
    stages: tuple[tuple[_Block, ...], ...]


# The tables of the paper's appendix.
_SMALL = (
    (_Conv(32, 3), _Conv(32, 1)),
    (_Conv(96, 3), _Conv(64, 1)),
    (
        _UIB(96, 5, 5, 3),
        *4 * (_UIB(96, None, 3, 2),),
        _UIB(96, 3, None, 4),
    ),
    (
        _UIB(128, 3, 3, 6),
        _UIB(128, 5, 5, 4),
        _UIB(128, None, 5, 4),
        _UIB(128, None, 5, 3),
        *2 * (_UIB(128, None, 3, 4),),
    ),
)
_MEDIUM = (
    (_FusedIB(48, 4),),
    (_UIB(80, 3, 5, 4), _UIB(80, 3, 3, 2)),
    (
        _UIB(160, 3, 5, 6),
        *2 * (_UIB(160, 3, 3, 4),),
        _UIB(160, 3, 5, 4),
        _UIB(160, 3, 3, 4),
        _UIB(160, 3, None, 4),
        _UIB(160, None, None, 2),
        _UIB(160, 3, None, 4),
    ),
    (
        _UIB(256, 5, 5, 6),
        _UIB(256, 5, 5, 4),
        *2 * (_UIB(256, 3, 5, 4),),
        _UIB(256, None, None, 4),
        _UIB(256, 3, None, 4),
        _UIB(256, 3, 5, 2),
        _UIB(256, 5, 5, 4),
        *2 * (_UIB(256, None, None, 4),),
        _UIB(256, 5, None, 2),
    ),
)
_LARGE = (
    (_FusedIB(48, 4),),
    (_UIB(96, 3, 5, 4), _UIB(96, 3, 3, 4)),
    (
        _UIB(192, 3, 5, 4),
        *3 * (_UIB(192, 3, 3, 4),),
        _UIB(192, 3, 5, 4),
        *5 * (_UIB(192, 5, 3, 4),),
        _UIB(192, 3, None, 4),
    ),
    (
        *4 * (_UIB(512, 5, 5, 4),),
        _UIB(512, 5, None, 4),
        _UIB(512, 5, 3, 4),
        *2 * (_UIB(512, 5, None, 4),),
        _UIB(512, 5, 3, 4),
        _UIB(512, 5, 5, 4),
        *3 * (_UIB(512, 5, None, 4),),
    ),
)


@MODELS.register_module()
class MobileNetV4(BaseBackbone):
    """`MobileNetV4 <https://arxiv.org/abs/2404.10518>`_: universal inverted bottlenecks.

    The convolutional nets. Five groups follow the stem (``blocks.0`` to ``blocks.4``, the last one
    a 1x1 convolution); keys are timm's, whose weights load as they are.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: 'conv_small', 'conv_medium' or 'conv_large'.
        widen_factor: Factor of the channel numbers, which are rounded to multiples of 8; the stem
            keeps its own below 1.0. With 'conv_small', 0.35 and 0.5 make timm's
            ``mobilenetv4_conv_small_035`` and ``mobilenetv4_conv_small_050``.
        out_indices: Which of the groups 0 to 4 give an output. The default is the last one of
            each stride: 4, 8, 16 and 32.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> net = MobileNetV4('conv_small', widen_factor=0.5)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 16, 16, 16), (1, 32, 8, 8), (1, 48, 4, 4), (1, 480, 2, 2)]
    """

    variants = (
        *(
            Variant(f'MobileNetV4 conv_small {factor}', dict(widen_factor=factor), ('timm',))
            for factor in (0.35, 0.5, 1.0)
        ),
        Variant('MobileNetV4 conv_medium', dict(arch='conv_medium'), ('timm',)),
        Variant('MobileNetV4 conv_large', dict(arch='conv_large'), ('timm',)),
    )
    default_init_cfg = DEPTHWISE_INIT_CFG
    head_channels: ClassVar[int] = 960
    arch_settings: ClassVar[dict[str, _Arch]] = {
        'conv_small': _Arch(32, _SMALL),
        'conv_medium': _Arch(32, _MEDIUM),
        'conv_large': _Arch(24, _LARGE),
    }

    def __init__(
        self,
        arch: str = 'conv_small',
        widen_factor: float = 1.0,
        out_indices: int | Sequence[int] = (0, 1, 2, 4),
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        in_channels: int = 3,
        output_stride: int = 32,
        **kwargs: Any,
    ) -> None:
        check_choice('arch', arch, self.arch_settings)
        check_arguments(MobileNetV4, locals())
        super().__init__(out_indices, **kwargs)
        self.widen_factor = widen_factor
        stem_channels, stages = self.arch_settings[arch]
        # Every stage begins with a stride but the 1x1 convolution at the end.
        strides = [2 if j == 0 else 1 for stage in stages for j in range(len(stage))]
        places = limit_strides([*strides, 1], output_stride)
        stages = (*stages, (_Conv(self.head_channels, 1),))
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        groups = self._groups(in_channels, stem_channels, stages, places, layers)
        self.add_groups(groups, len(stages))
        register_key_mappings(self, _KEY_MAPPINGS)
        self.published = (_PLAIN,) if arch == 'conv_small' else (_BLURRED, _PLAIN)

    def _groups(
        self,
        in_channels: int,
        stem_channels: int,
        stages: Sequence[Sequence[_Block]],
        strides: list[BlockStride],
        layers: ConfigType,
    ) -> Iterator[Group]:
        channels = make_divisible(stem_channels * max(1.0, self.widen_factor))
        stem = conv_norm_act(('conv_stem', 'bn1', 'act1'), in_channels, channels, 3, 2, **layers)
        yield Group(stem, channels, 2, is_output=False)
        remaining = iter(strides)
        for i, stage in enumerate(stages):
            blocks = []
            for block in stage:
                place = next(remaining)
                block = block._replace(channels=make_divisible(block.channels * self.widen_factor))
                blocks.append(_build(block, channels, place, layers))
                channels = block.channels
            yield Group({f'blocks.{i}': Sequential(*blocks)}, channels, place.total)


def _build(block: _Block, in_channels: int, place: BlockStride, layers: ConfigType) -> nn.Module:
    if isinstance(block, _Conv):
        parts = conv_norm_act(('conv', 'bn1', 'act1'), in_channels, *block, place.stride, **layers)
        return Sequential(OrderedDict(parts))
    mid_channels = make_divisible(in_channels * block.expand_ratio)
    if isinstance(block, _FusedIB):
        names = ('conv_exp', 'bn1', 'act1')
        parts = conv_norm_act(names, in_channels, mid_channels, 3, place.stride, **layers)
        linear = {key: cfg for key, cfg in layers.items() if key != 'act_cfg'}
        parts['conv_pwl'], parts['bn2'] = conv_norm(mid_channels, block.channels, 1, **linear)
        return Sequential(OrderedDict(parts))
    return UniversalInvertedResidual(
        in_channels,
        block.channels,
        mid_channels,
        block.start_kernel_size,
        block.mid_kernel_size,
        place.stride,
        place.dilation,
        **layers,
    )
