"""ShuffleNetV2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.init_cfg import DEPTHWISE_INIT_CFG
from mmblocks.backbones.mobilenet_keys import conv_and_bn_pairs
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.shuffle_units import ShuffleUnitV2
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import KeyMapping, register_key_mappings

# Names of a branch's layers here and torchvision's numbers, which count the ReLUs too.
_BRANCHES = {
    'branch1': {'0.conv': 0, '0.bn': 1, '1.conv': 2, '1.bn': 3},
    'branch2': {'0.conv': 0, '0.bn': 1, '1.conv': 3, '1.bn': 4, '2.conv': 5, '2.bn': 6},
}


class _Widths(NamedTuple):
    stages: tuple[int, int, int]
    last: int


@MODELS.register_module()
class ShuffleNetV2(BaseBackbone):
    """`ShuffleNet V2: Practical Guidelines <https://arxiv.org/abs/1807.11164>`_ for fast nets.

    Four groups follow the stem of stride 4: three stages of stride 8, 16 and 32, and the 1x1
    convolution in front of the classifier, of stride 32 too; ``out_indices=(0, 1, 2)`` gives a
    detector C3 to C5. Arguments, defaults and state-dict keys are mmpretrain's; weights of
    torchvision load as they are.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        widen_factor: 0.5, 1.0, 1.5 or 2.0: which of the published widths.
        out_indices: Which of the groups 0 to 3 give an output.

    Example:
        >>> import torch
        >>> net = ShuffleNetV2(0.5, out_indices=(0, 1, 2))
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 48, 8, 8), (1, 96, 4, 4), (1, 192, 2, 2)]
    """

    variants = tuple(
        Variant(
            f'ShuffleNetV2 {factor}',
            dict(widen_factor=factor, out_indices=(0, 1, 2)),
            ('mmpretrain', 'torchvision'),
        )
        for factor in (0.5, 1.0, 1.5, 2.0)
    )
    default_init_cfg = DEPTHWISE_INIT_CFG
    stem_channels: ClassVar[int] = 24
    stage_blocks: ClassVar[tuple[int, int, int]] = (4, 8, 4)
    widths: ClassVar[dict[float, _Widths]] = {
        0.5: _Widths(stages=(48, 96, 192), last=1024),
        1.0: _Widths(stages=(116, 232, 464), last=1024),
        1.5: _Widths(stages=(176, 352, 704), last=1024),
        2.0: _Widths(stages=(244, 488, 976), last=2048),
    }

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: int | Sequence[int] = (3,),
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType | None = dict(type='ReLU'),
        norm_eval: bool = False,
        with_cp: bool | str = False,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_choice('widen_factor', widen_factor, self.widths)
        check_arguments(ShuffleNetV2, locals())
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        groups = self._groups(self.widths[widen_factor], in_channels, layers)
        self.add_groups(groups, len(self.stage_blocks) + 1)
        register_key_mappings(self, [_torchvision(self.stage_blocks)])

    def _groups(self, widths: _Widths, in_channels: int, layers: ConfigType) -> Iterator[Group]:
        channels, stride = self.stem_channels, 4
        stem = {
            'conv1': ConvModule(in_channels, channels, 3, stride=2, padding=1, **layers),
            'maxpool': nn.MaxPool2d(3, stride=2, padding=1),
        }
        yield Group(stem, channels, stride, is_output=False)
        for i, (num_blocks, width) in enumerate(zip(self.stage_blocks, widths.stages, strict=True)):
            first = ShuffleUnitV2(channels, width, stride=2, **layers)
            rest = (ShuffleUnitV2(width, width, **layers) for _ in range(num_blocks - 1))
            channels, stride = width, stride * 2
            yield Group({f'layers.{i}': Sequential(first, *rest)}, channels, stride)
        last = ConvModule(channels, widths.last, 1, **layers)
        yield Group({f'layers.{len(widths.stages)}': last}, widths.last, stride)


def _torchvision(stage_blocks: Sequence[int]) -> KeyMapping:
    last = f'layers.{len(stage_blocks)}'
    units = (
        (f'layers.{i}.{j}.{branch}.{ours}', f'stage{i + 2}.{j}.{branch}.{theirs}')
        for i, num_blocks in enumerate(stage_blocks)
        for j in range(num_blocks)
        for branch, numbers in _BRANCHES.items()
        for ours, theirs in numbers.items()
    )
    return KeyMapping(
        'torchvision',
        r'stage2\.0\.branch1\.',
        (
            *conv_and_bn_pairs('conv1', 'conv1'),
            *units,
            *conv_and_bn_pairs(last, 'conv5'),
        ),
        dropped=('fc',),
    )
