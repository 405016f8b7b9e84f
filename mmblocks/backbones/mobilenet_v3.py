"""MobileNetV3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.init_cfg import DEPTHWISE_INIT_CFG
from mmblocks.backbones.mobilenet_keys import (
    MOBILENET_V3_PUBLISHED,
    BlockNames,
    mobilenet_v3_key_mappings,
)
from mmblocks.backbones.output_stride import BlockStride, limit_strides
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.inverted_residual import InvertedResidual
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import register_key_mappings


class _Block(NamedTuple):
    kernel_size: int
    expand_ratio: float
    channels: int
    with_se: bool
    activation: str
    stride: int


Stages = tuple[tuple[_Block, ...], ...]

# The papers' tables 1 and 2, cut where the number of channels changes.
_LARGE: Stages = (
    (_Block(3, 1, 16, False, 'ReLU', 1),),
    (_Block(3, 4, 24, False, 'ReLU', 2), _Block(3, 3, 24, False, 'ReLU', 1)),
    (
        _Block(5, 3, 40, True, 'ReLU', 2),
        _Block(5, 3, 40, True, 'ReLU', 1),
        _Block(5, 3, 40, True, 'ReLU', 1),
    ),
    (
        _Block(3, 6, 80, False, 'HSwish', 2),
        _Block(3, 2.5, 80, False, 'HSwish', 1),
        _Block(3, 2.3, 80, False, 'HSwish', 1),
        _Block(3, 2.3, 80, False, 'HSwish', 1),
    ),
    (_Block(3, 6, 112, True, 'HSwish', 1), _Block(3, 6, 112, True, 'HSwish', 1)),
    (
        _Block(5, 6, 160, True, 'HSwish', 2),
        _Block(5, 6, 160, True, 'HSwish', 1),
        _Block(5, 6, 160, True, 'HSwish', 1),
    ),
)
_SMALL: Stages = (
    (_Block(3, 1, 16, True, 'ReLU', 2),),
    (_Block(3, 4.5, 24, False, 'ReLU', 2), _Block(3, 3.67, 24, False, 'ReLU', 1)),
    (
        _Block(5, 4, 40, True, 'HSwish', 2),
        _Block(5, 6, 40, True, 'HSwish', 1),
        _Block(5, 6, 40, True, 'HSwish', 1),
    ),
    (_Block(5, 3, 48, True, 'HSwish', 1), _Block(5, 3, 48, True, 'HSwish', 1)),
    (
        _Block(5, 6, 96, True, 'HSwish', 2),
        _Block(5, 6, 96, True, 'HSwish', 1),
        _Block(5, 6, 96, True, 'HSwish', 1),
    ),
)


class _Arch(NamedTuple):
    stages: Stages
    widen_factor: float


@MODELS.register_module()
class MobileNetV3(BaseBackbone):
    """`Searching for MobileNetV3 <https://arxiv.org/abs/1905.02244>`_.

    Arguments and state-dict keys are mmpretrain's: every block is a group of its own, from the
    stem ``layer0`` to the 1x1 convolution behind the last block. Weights of torchvision and timm
    load as they are. The default ``norm_cfg`` is that of torchvision's weights and of
    mmpretrain's large and small ones; all others, timm's too, need ``dict(type='BN')`` for the
    same maps, and timm's ``tf_mobilenetv3_*`` ``conv_cfg=dict(type='mmblocks.Conv2dSamePadding')``.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: 'small', 'small_075', 'small_050', 'large' or 'large_075'.
        out_indices: Which of the groups give an output, the stem counted as 0: 0 to 12, or 0 to
            16 of a large net. Default: the last one of the strides 4, 8, 16 and 32, so
            (1, 3, 8, 12) or (3, 6, 12, 16); the last is the 1x1 convolution, as in MobileNetV2.
            mmpretrain's default is the last alone.
        frozen_stages: -1 freezes nothing, k ``layer0`` to ``layerk``.
        act_cfg: Activation of every convolution outside the squeeze-and-excitations; default:
            the paper's, ReLU or HSwish by block.

    Example:
        >>> import torch
        >>> net = MobileNetV3('small_050')
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 8, 16, 16), (1, 16, 8, 8), (1, 24, 4, 4), (1, 288, 2, 2)]
    """

    variants = (
        *(
            Variant(f'MobileNetV3 {arch}', dict(arch=arch), ('mmpretrain', 'timm'))
            for arch in ('small_050', 'small_075')
        ),
        *(
            Variant(f'MobileNetV3 {arch}', dict(arch=arch), ('mmpretrain', 'torchvision', 'timm'))
            for arch in ('small', 'large')
        ),
    )
    default_init_cfg = DEPTHWISE_INIT_CFG
    published = MOBILENET_V3_PUBLISHED
    stem_channels: ClassVar[int] = 16
    se_cfg: ClassVar[ConfigType] = dict(
        ratio=4, act_cfg=(dict(type='ReLU'), dict(type=nn.Hardsigmoid, inplace=False))
    )
    arch_settings: ClassVar[dict[str, _Arch]] = {
        'small': _Arch(_SMALL, 1.0),
        'small_075': _Arch(_SMALL, 0.75),
        'small_050': _Arch(_SMALL, 0.5),
        'large': _Arch(_LARGE, 1.0),
        'large_075': _Arch(_LARGE, 0.75),
    }

    def __init__(
        self,
        arch: str = 'small',
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', eps=0.001, momentum=0.01),
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool | str = False,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        output_stride: int = 32,
        act_cfg: ConfigType | None = None,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_choice('arch', arch, self.arch_settings)
        check_arguments(MobileNetV3, locals())
        stages, widen_factor = self.arch_settings[arch]
        blocks = [
            block._replace(channels=make_divisible(block.channels * widen_factor, 8))
            for stage in stages
            for block in stage
        ]
        strides = [block.stride for block in blocks]
        if out_indices is None:
            out_indices = _last_of_each_stride(strides)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        self.arch = arch
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        places = limit_strides(strides, output_stride)
        self.add_groups(self._groups(in_channels, blocks, places, act_cfg, layers), len(blocks) + 2)
        register_key_mappings(self, mobilenet_v3_key_mappings(_block_names(stages), len(stages)))

    def _groups(
        self,
        in_channels: int,
        blocks: list[_Block],
        strides: list[BlockStride],
        act_cfg: ConfigType | None,
        layers: ConfigType,
    ) -> Iterator[Group]:
        channels = self.stem_channels
        ends = dict(layers, act_cfg=act_cfg or dict(type='HSwish'))
        stem = ConvModule(in_channels, channels, 3, stride=2, padding=1, **ends)
        yield Group({'layer0': stem}, channels, 2)
        for i, (block, place) in enumerate(zip(blocks, strides, strict=True), 1):
            mid_channels = make_divisible(channels * block.expand_ratio, 8)
            module = InvertedResidual(
                channels,
                block.channels,
                mid_channels,
                block.kernel_size,
                place.stride,
                se_cfg=self.se_cfg if block.with_se else None,
                act_cfg=act_cfg or dict(type=block.activation),
                dilation=place.dilation,
                **layers,
            )
            channels = block.channels
            yield Group({f'layer{i}': module}, channels, place.total)
        # As wide as the last block is inside.
        last = ConvModule(channels, mid_channels, 1, **ends)
        yield Group({f'layer{len(blocks) + 1}': last}, mid_channels, place.total)


def _last_of_each_stride(strides: Sequence[int]) -> tuple[int, ...]:
    """Returns the four coarsest of the groups that a stride, or nothing, follows."""
    lasts = [i for i, following in enumerate(strides) if following > 1]
    return (*lasts[-3:], len(strides) + 1)


def _block_names(stages: Stages) -> list[BlockNames]:
    places = [(i, j, block) for i, stage in enumerate(stages) for j, block in enumerate(stage)]
    return [
        BlockNames(
            ours=f'layer{position}',
            timm=f'blocks.{i}.{j}',
            position=position,
            expands=block.expand_ratio != 1,
            with_se=block.with_se,
        )
        for position, (i, j, block) in enumerate(places, 1)
    ]
