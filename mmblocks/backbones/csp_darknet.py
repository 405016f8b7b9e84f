"""CSPDarknet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.init_cfg import DEPTHWISE_INIT_CFG
from mmblocks.backbones.traits import EPS
from mmblocks.backbones.variant import Variant
from mmblocks.layers.csp import C3, C2f, spatial_conv
from mmblocks.layers.focus import Focus
from mmblocks.layers.spp import SPPBottleneck, checked_windows
from mmblocks.utils.accepted import is_count
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.published import Published


class _Stage(NamedTuple):
    in_channels: int
    out_channels: int
    num_blocks: int
    add_identity: bool
    use_spp: bool


@MODELS.register_module()
class CSPDarknet(BaseBackbone):
    """The Darknet of `YOLOX <https://arxiv.org/abs/2107.08430>`_, of C3 or C2f blocks.

    `Cross stage partial <https://arxiv.org/abs/1911.11929>`_ blocks behind convolutions of stride
    2, and a focus layer as stem. Arguments, defaults and state-dict keys are mmdet's, so that the
    backbones of its YOLOX checkpoints load as they are. The maps are those of ``stem``, of stride
    2, and of ``stage1`` to ``stage4`` (``stage5`` with 'P6'), of strides 4 to 32 (64).

    With ``block='C2f'`` every C3 becomes a C2f with as many bottlenecks. The rest stays, so this
    is not quite YOLOv8's backbone, whose stem is a plain convolution, whose pooling stands at the
    very end and which has 3, 6, 6 and 3 bottlenecks.

    Weights of YOLOX expect images as they are read: BGR, 0 to 255, not normalised. Images of odd
    height or width, which mmdet's net refuses, are completed with zeros.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: 'P5' for four stages, 'P6' for five.
        deepen_factor: Factor of each stage's number of bottlenecks, which is rounded and at
            least 1. YOLOX: 0.33 in nano, tiny and s, 0.67 in m, 1.0 in l, 1.33 in x.
        widen_factor: Factor of all channel numbers, which are rounded down. YOLOX: 0.25 in nano,
            0.375 in tiny, 0.5 in s, 0.75 in m, 1.0 in l, 1.25 in x.
        out_indices: Which maps to give: 0 is the stem's, k that of stage k.
        use_depthwise: Replace the 3x3 convolutions behind the stem by depthwise separable ones,
            as in YOLOX-nano.
        arch_ovewrite: Stages of another net instead of those of ``arch``: rows of input channels,
            output channels, number of bottlenecks, whether these have a shortcut, and whether
            spatial pyramid pooling stands in front of them; all before the factors. Each row
            begins with the output channels of the one before.
        spp_kernal_sizes: Windows of the spatial pyramid pooling in pixels, odd numbers.
        block: 'C3' or 'C2f'.

    Example:
        >>> import torch
        >>> net = CSPDarknet(deepen_factor=0.33, widen_factor=0.25)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 64, 8, 8), (1, 128, 4, 4), (1, 256, 2, 2)]
    """

    variants = (
        *(
            Variant(
                f'CSPDarknet C3, YOLOX-{size}',
                dict(deepen_factor=deep, widen_factor=wide),
                ('mmdet',),
            )
            for size, deep, wide in (
                ('tiny', 0.33, 0.375),
                ('s', 0.33, 0.5),
                ('m', 0.67, 0.75),
                ('l', 1.0, 1.0),
                ('x', 1.33, 1.25),
            )
        ),
        *(
            Variant(
                f'CSPDarknet C2f 0.33/{wide}',
                dict(deepen_factor=0.33, widen_factor=wide, block='C2f'),
                (),
            )
            for wide in (0.25, 0.5)
        ),
    )
    default_init_cfg = DEPTHWISE_INIT_CFG
    published = (Published('mmdet', 'yolox_*', r'yolox_(tiny|nano|[smlx])_8x', None, {EPS: 1e-3}),)
    blocks: ClassVar[dict[str, type[nn.Module]]] = {'C3': C3, 'C2f': C2f}
    arch_settings: ClassVar[dict[str, tuple[_Stage, ...]]] = {
        'P5': (
            _Stage(64, 128, 3, True, False),
            _Stage(128, 256, 9, True, False),
            _Stage(256, 512, 9, True, False),
            _Stage(512, 1024, 3, False, True),
        ),
        'P6': (
            _Stage(64, 128, 3, True, False),
            _Stage(128, 256, 9, True, False),
            _Stage(256, 512, 9, True, False),
            _Stage(512, 768, 3, True, False),
            _Stage(768, 1024, 3, False, True),
        ),
    }

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: int | Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        arch_ovewrite: Sequence[Sequence[int | bool]] | None = None,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg: ConfigType | None = dict(type='Swish'),
        norm_eval: bool = False,
        init_cfg: MultiConfig | None = None,
        block: str = 'C3',
        in_channels: int = 3,
        with_cp: bool | str = False,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_choice('arch', arch, self.arch_settings)
        check_choice('block', block, self.blocks)
        check_arguments(CSPDarknet, locals())
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        rows = self.arch_settings[arch] if arch_ovewrite is None else _checked(arch_ovewrite)
        stages = _scaled(rows, deepen_factor, widen_factor)
        self.arch = arch
        self.block = block
        self.use_depthwise = use_depthwise
        self.spp_kernal_sizes = checked_windows(spp_kernal_sizes, 'spp_kernal_sizes')
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.add_groups(self._groups(in_channels, stages, layers), len(stages) + 1)

    def _groups(
        self, in_channels: int, stages: list[_Stage], layers: ConfigType
    ) -> Iterator[Group]:
        stem_channels = stages[0].in_channels
        yield Group({'stem': Focus(in_channels, stem_channels, 3, **layers)}, stem_channels, 2)
        for i, stage in enumerate(stages, 1):
            channels = stage.out_channels
            parts = [spatial_conv(stage.in_channels, channels, 3, 2, self.use_depthwise, **layers)]
            if stage.use_spp:
                parts.append(SPPBottleneck(channels, channels, self.spp_kernal_sizes, **layers))
            parts.append(
                self.blocks[self.block](
                    channels,
                    channels,
                    num_blocks=stage.num_blocks,
                    add_identity=stage.add_identity,
                    use_depthwise=self.use_depthwise,
                    **layers,
                )
            )
            yield Group({f'stage{i}': Sequential(*parts)}, channels, 2 ** (i + 1))


def _checked(arch_ovewrite: Sequence[Sequence[int | bool]]) -> tuple[_Stage, ...]:
    if not isinstance(arch_ovewrite, Sequence) or isinstance(arch_ovewrite, str):
        raise ValueError(f'arch_ovewrite={arch_ovewrite!r}: must be a list of rows, or None')
    stages: list[_Stage] = []
    for i, row in enumerate(arch_ovewrite):
        values = tuple(row) if isinstance(row, Sequence) else ()
        numbers, flags = values[:3], values[3:]
        if (
            len(values) != len(_Stage._fields)
            or not all(map(is_count, numbers))
            # 0 and 1 as well.
            or any(flag not in (False, True) for flag in flags)
        ):
            raise ValueError(
                f'arch_ovewrite[{i}]={row}: must be {", ".join(_Stage._fields)}, three positive '
                'ints and two bools (or 0 and 1)'
            )
        if stages and values[0] != stages[-1].out_channels:
            raise ValueError(
                f'arch_ovewrite[{i}]={row}: in_channels={values[0]} must be the '
                f'{stages[-1].out_channels} output channels of the row before'
            )
        channels, out_channels, num_blocks, add_identity, use_spp = values
        stages.append(_Stage(channels, out_channels, num_blocks, bool(add_identity), bool(use_spp)))
    if not stages:
        raise ValueError(f'arch_ovewrite={arch_ovewrite}: must have at least one row')
    return tuple(stages)


def _scaled(rows: Sequence[_Stage], deepen_factor: float, widen_factor: float) -> list[_Stage]:
    stages = [
        row._replace(
            in_channels=int(row.in_channels * widen_factor),
            out_channels=int(row.out_channels * widen_factor),
            num_blocks=max(round(row.num_blocks * deepen_factor), 1),
        )
        for row in rows
    ]
    # A block works on half of its channels.
    if stages[0].in_channels < 1 or any(stage.out_channels < 2 for stage in stages):
        raise ValueError(f'widen_factor={widen_factor} of CSPDarknet leaves a stage no channels')
    return stages
