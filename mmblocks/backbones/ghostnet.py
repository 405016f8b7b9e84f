"""GhostNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.conv_norm import conv_norm_act
from mmblocks.backbones.variant import Variant
from mmblocks.layers.ghost import GhostBottleneck
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType
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
    front of the classifier); keys are those of the authors' code and of timm.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        widen_factor: Factor of all channel numbers; published are 0.5, 1.0 and 1.3.
        out_indices: Which of the groups 0 to 9 give an output. The default is the last group of
            each stride: 4, 8, 16 and 32.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> net = GhostNet(widen_factor=0.5)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 12, 16, 16), (1, 20, 8, 8), (1, 56, 4, 4), (1, 80, 2, 2)]
    """

    variants = tuple(
        Variant(f'GhostNet {factor}', dict(widen_factor=factor), ('timm',))
        for factor in (0.5, 1.0, 1.3)
    )
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
        in_channels: int = 3,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        **kwargs: Any,
    ) -> None:
        check_arguments(GhostNet, locals())
        super().__init__(out_indices, **kwargs)
        layers: ConfigType = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.add_groups(self._groups(widen_factor, in_channels, layers), len(self.stages) + 1)
        register_key_mappings(self, _KEY_MAPPINGS)

    def _groups(self, widen_factor: float, in_channels: int, layers: ConfigType) -> Iterator[Group]:
        def widened(channels: int) -> int:
            return make_divisible(channels * widen_factor, 4)

        channels, stride = widened(self.stem_channels), 2
        stem = conv_norm_act(('conv_stem', 'bn1', 'act1'), in_channels, channels, 3, 2, **layers)
        yield Group(stem, channels, stride, is_output=False)
        for i, stage in enumerate(self.stages):
            blocks = []
            for block in stage:
                mid_channels, out_channels = map(widened, (block.mid_channels, block.out_channels))
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
        # As wide as the last block is inside.
        last = conv_norm_act(('conv', 'bn1', 'act1'), channels, mid_channels, 1, **layers)
        modules = {f'blocks.{len(self.stages)}': Sequential(Sequential(OrderedDict(last)))}
        yield Group(modules, mid_channels, stride)
