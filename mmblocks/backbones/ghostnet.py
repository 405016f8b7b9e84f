"""GhostNet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from mmcv.cnn import build_activation_layer
from mmengine.model import Sequential
from mmengine.registry import MODELS

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.layers.conv import build_conv
from mmblocks.layers.ghost import GhostBottleneck
from mmblocks.layers.norm import build_norm
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import KeyMapping, drop_parts, register_key_mappings

_KEY_MAPPINGS = (
    KeyMapping(
        'GhostNetV2 or V3',
        r'blocks\.\d+\.\d+\.ghost1\.(short_conv|\w+_rpr_)',
        refused='its ghost modules have further branches, so the outputs would differ',
    ),
    drop_parts('timm', 'conv_head', 'classifier'),
)


class _Block(NamedTuple):
    kernel_size: int
    mid_channels: int
    out_channels: int
    se_ratio: float
    stride: int


@MODELS.register_module()
class GhostNet(BaseBackbone):
    """`GhostNet: More Features from Cheap Operations <https://arxiv.org/abs/1911.11907>`_.

    Ten groups follow the stem (``blocks.0`` to ``blocks.9``, the last one the 1x1 convolution in
    front of the classifier); keys are those of the authors' code and of timm. Parts behind the
    last output are not built.

    Args:
        widen_factor: Factor of all channel numbers; published are 0.5, 1.0 and 1.3.
        out_indices: Which of the groups 0 to 9 give an output. The default is the last group of
            each stride: 4, 8, 16 and 32.
        frozen_stages: -1 freezes nothing, 0 the stem, k the stem and ``blocks.0`` to
            ``blocks.(k - 1)``.
        in_channels: Channels of the images.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, behind convolutions with bias.
        act_cfg: Activation layers.
        norm_eval: Keep BatchNorm in eval mode during training.
        with_cp: Recompute each block's activations in backward to save memory.
        init_cfg: MMEngine's initialisation config; default: Kaiming for the convolutions.
        plugins: Modules to insert; see :class:`BaseBackbone`.
        replace_convs: Layers to put in place of convolutions; see :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> net = GhostNet(widen_factor=0.5)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 12, 16, 16), (1, 20, 8, 8), (1, 56, 4, 4), (1, 80, 2, 2)]
    """

    stem_channels: ClassVar[int] = 16
    stages: ClassVar[tuple[tuple[_Block, ...], ...]] = (
        (_Block(3, 16, 16, 0, 1),),
        (_Block(3, 48, 24, 0, 2),),
        (_Block(3, 72, 24, 0, 1),),
        (_Block(5, 72, 40, 0.25, 2),),
        (_Block(5, 120, 40, 0.25, 1),),
        (_Block(3, 240, 80, 0, 2),),
        (
            _Block(3, 200, 80, 0, 1),
            _Block(3, 184, 80, 0, 1),
            _Block(3, 184, 80, 0, 1),
            _Block(3, 480, 112, 0.25, 1),
            _Block(3, 672, 112, 0.25, 1),
        ),
        (_Block(5, 672, 160, 0.25, 2),),
        (
            _Block(5, 960, 160, 0, 1),
            _Block(5, 960, 160, 0.25, 1),
            _Block(5, 960, 160, 0, 1),
            _Block(5, 960, 160, 0.25, 1),
        ),
    )

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: int | Sequence[int] = (2, 4, 6, 8),
        frozen_stages: int = -1,
        in_channels: int = 3,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: MultiConfig | None = None,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(GhostNet, locals())
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        groups = self._groups(widen_factor, in_channels, conv_cfg, norm_cfg, act_cfg)
        self.add_groups(groups, len(self.stages) + 1)
        register_key_mappings(self, _KEY_MAPPINGS)

    def _groups(
        self,
        widen_factor: float,
        in_channels: int,
        conv_cfg: ConfigType | None,
        norm_cfg: ConfigType | None,
        act_cfg: ConfigType,
    ) -> Iterator[Group]:
        layers: ConfigType = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        channels = make_divisible(self.stem_channels * widen_factor, 4)
        conv_stem = build_conv(
            conv_cfg, in_channels, channels, 3, stride=2, padding=1, bias=norm_cfg is None
        )
        stem = {
            'conv_stem': conv_stem,
            'bn1': build_norm(norm_cfg, channels)[1],
            'act1': build_activation_layer(act_cfg),
        }
        stride = 2
        yield Group(stem, channels, stride, is_output=False)
        for i, stage in enumerate(self.stages):
            blocks = []
            for block in stage:
                mid_channels = make_divisible(block.mid_channels * widen_factor, 4)
                out_channels = make_divisible(block.out_channels * widen_factor, 4)
                blocks.append(
                    GhostBottleneck(
                        channels,
                        mid_channels,
                        out_channels,
                        block.kernel_size,
                        block.stride,
                        block.se_ratio,
                        **layers,
                    )
                )
                channels, stride = out_channels, stride * block.stride
            yield Group({f'blocks.{i}': Sequential(*blocks)}, channels, stride)
        last = Sequential()
        conv = build_conv(conv_cfg, channels, mid_channels, 1, bias=norm_cfg is None)
        last.add_module('conv', conv)
        last.add_module('bn1', build_norm(norm_cfg, mid_channels)[1])
        last.add_module('act1', build_activation_layer(act_cfg))
        yield Group({f'blocks.{len(self.stages)}': Sequential(last)}, mid_channels, stride)
