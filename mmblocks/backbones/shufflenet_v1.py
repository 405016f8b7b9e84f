"""ShuffleNet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.shuffle_units import ShuffleUnit
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig


class _Widths(NamedTuple):
    stem: int
    stages: tuple[int, ...]


@MODELS.register_module()
class ShuffleNetV1(BaseBackbone):
    """`ShuffleNet <https://arxiv.org/abs/1707.01083>`_ for mobile devices, of grouped convolutions.

    Three stages of stride 8, 16 and 32 follow the stem of stride 4; ``out_indices=(0, 1, 2)``
    gives a detector C3 to C5. Arguments, defaults and state-dict keys are mmpretrain's.

    Widths are mmpretrain's: a stage's is rounded to a multiple of 8, the stem's down. Where
    ``groups`` does not divide these (``groups=3, widen_factor=0.25``), so that mmpretrain has no
    such net, the stages' are rounded to multiples of ``4 * groups`` and the stem's to one of
    ``groups``.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        groups: Groups of the 1x1 convolutions and of the shuffle: 1, 2, 3, 4 or 8. More groups
            have wider stages.
        widen_factor: Factor of all channel numbers; published are 0.25 to 2.0.
        out_indices: Which of the stages 0 to 2 give an output.

    Example:
        >>> import torch
        >>> net = ShuffleNetV1(groups=3, widen_factor=0.5, out_indices=(0, 1, 2))
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 120, 8, 8), (1, 240, 4, 4), (1, 480, 2, 2)]
    """

    variants = tuple(
        Variant(
            f'ShuffleNetV1 g={groups}',
            dict(groups=groups, out_indices=(0, 1, 2)),
            ('mmpretrain',),
        )
        for groups in (1, 3, 8)
    )
    stage_blocks: ClassVar[tuple[int, int, int]] = (4, 8, 4)
    # By groups, so that all nets cost about the same.
    widths: ClassVar[dict[int, _Widths]] = {
        1: _Widths(stem=24, stages=(144, 288, 576)),
        2: _Widths(stem=24, stages=(200, 400, 800)),
        3: _Widths(stem=24, stages=(240, 480, 960)),
        4: _Widths(stem=24, stages=(272, 544, 1088)),
        8: _Widths(stem=24, stages=(384, 768, 1536)),
    }

    def __init__(
        self,
        groups: int = 3,
        widen_factor: float = 1.0,
        out_indices: int | Sequence[int] = (2,),
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU'),
        norm_eval: bool = False,
        with_cp: bool | str = False,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_choice('groups', groups, self.widths)
        check_arguments(ShuffleNetV1, locals())
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        widths = _widen(self.widths[groups], widen_factor, groups)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.add_groups(self._groups(widths, groups, in_channels, layers), len(self.stage_blocks))

    def _groups(
        self, widths: _Widths, groups: int, in_channels: int, layers: ConfigType
    ) -> Iterator[Group]:
        channels, stride = widths.stem, 4
        stem = {
            'conv1': ConvModule(in_channels, channels, 3, stride=2, padding=1, **layers),
            'maxpool': nn.MaxPool2d(3, stride=2, padding=1),
        }
        yield Group(stem, channels, stride, is_output=False)
        for i, (num_blocks, width) in enumerate(zip(self.stage_blocks, widths.stages, strict=True)):
            # The stem is too narrow to be grouped.
            compress_groups = 1 if i == 0 else groups
            first = ShuffleUnit(channels, width, groups, compress_groups, stride=2, **layers)
            rest = (ShuffleUnit(width, width, groups, **layers) for _ in range(num_blocks - 1))
            channels, stride = width, stride * 2
            yield Group({f'layers.{i}': Sequential(first, *rest)}, channels, stride)


def _widen(widths: _Widths, factor: float, groups: int) -> _Widths:
    stem = int(widths.stem * factor)
    stages = tuple(make_divisible(width * factor, 8) for width in widths.stages)
    if (stages[0] - stem) % groups or any(width // 4 % groups for width in stages):
        stem = make_divisible(widths.stem * factor, groups)
        stages = tuple(make_divisible(width * factor, 4 * groups) for width in widths.stages)
    if not 0 < stem < stages[0] < stages[1] < stages[2]:
        raise ValueError(
            f'widen_factor={factor!r} of ShuffleNetV1 with groups={groups} is too small: stem and '
            f'stages would have {stem}, {", ".join(map(str, stages))} channels'
        )
    return _Widths(stem, stages)
