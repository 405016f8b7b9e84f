"""The feature pyramid network."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.conv_module import ConvModule
from mmblocks.necks.top_blocks import TopBlock
from mmblocks.utils.accepted import LAYER, OPTIONS, Accepted, is_count
from mmblocks.utils.checks import check_arguments, shown
from mmblocks.utils.errors import first_line
from mmblocks.utils.lookup import find_layer
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.init_cfg import check_init_cfg, init_random, load_init_cfg
from mmblocks.weights.key_mapping import KeyMapping, register_key_mappings
from mmblocks.weights.report import LoadReport

EXTRA_SOURCES = ('on_input', 'on_lateral', 'on_output')


def _torchvision_pairs(level: int) -> Iterator[tuple[str, str]]:
    for ours, theirs in (('lateral_convs', 'inner_blocks'), ('fpn_convs', 'layer_blocks')):
        yield f'{ours}.{level}.conv', f'{theirs}.{level}.0'
        yield f'{ours}.{level}.conv', f'{theirs}.{level}'  # before torchvision 0.13
        yield f'{ours}.{level}.bn', f'{theirs}.{level}.1'


def _detectron2_pairs(level: int, first: int) -> Iterator[tuple[str, str]]:
    for ours, theirs in (('lateral_convs', 'fpn_lateral'), ('fpn_convs', 'fpn_output')):
        yield f'{ours}.{level}.conv', f'{theirs}{first + level}'
        yield f'{ours}.{level}.bn', f'{theirs}{first + level}.norm'


# More levels than any pyramid has.
_LEVELS = range(8)
FPN_KEY_MAPPINGS = (
    KeyMapping(
        'torchvision',
        r'inner_blocks\.',
        (('top_block', 'extra_blocks'), *(p for i in _LEVELS for p in _torchvision_pairs(i))),
    ),
    # detectron2 numbers levels by the stage that they come from: the first is the least number.
    *(
        KeyMapping(
            'detectron2',
            rf'fpn_lateral{first}\.',
            tuple(pair for i in _LEVELS for pair in _detectron2_pairs(i, first)),
        )
        for first in _LEVELS
    ),
)


def _upsample_problem(upsample_cfg: Mapping[str, Any], argument: str) -> str | None:
    size: dict[str, Any] = {} if 'scale_factor' in upsample_cfg else dict(size=(4, 4))
    try:
        F.interpolate(torch.empty(1, 1, 2, 2), **size, **upsample_cfg)
    except Exception as error:
        return f'F.interpolate takes other arguments: {first_line(error)}'
    return None


_UPSAMPLE = Accepted(OPTIONS.fits, OPTIONS.words, _upsample_problem)
_START = Accepted(lambda value: is_count(value, least=0), 'an int of at least 0')
_END = Accepted(lambda value: is_count(value, least=-1), 'an int of at least -1')


@MODELS.register_module()
class FPN(BaseModule):
    """`Feature Pyramid Networks <https://arxiv.org/abs/1612.03144>`_: one width, every scale.

    Arguments, defaults and state-dict keys are mmdet's; ``top_block`` is added. Weights of
    torchvision's and detectron2's pyramids load as they are.

    Args:
        in_channels: Channels of each input, highest resolution first.
        out_channels: Channels of every output.
        num_outs: Number of outputs. More than the levels that are used means extra, coarser
            ones: from ``add_extra_convs`` or ``top_block``, else by taking every second pixel.
        start_level: First input that is used.
        end_level: Last input that is used; -1 for the last one there is.
        add_extra_convs: Whether extra levels are 3x3 convolutions of stride 2, and the source of
            the first: 'on_input' (the last input that is used; True means the same),
            'on_lateral' or 'on_output'.
        relu_before_extra_convs: ReLU between one extra convolution and the next.
        no_norm_on_lateral: Leave the norm out of the laterals.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none.
        act_cfg: Activation behind every convolution; None for none.
        upsample_cfg: ``F.interpolate``'s options for the top-down path.
        init_cfg: MMEngine's initialisation config.
        top_block: ``dict(type='LastLevelMaxPool')`` or ``dict(type='LastLevelP6P7', source=...)``
            in place of ``add_extra_convs``.

    Shape:
        A sequence of (N, in_channels[i], H_i, W_i) to a tuple of ``num_outs`` maps with
        ``out_channels`` channels: the sizes of the inputs used, then each half (rounded up) of
        the one before.

    Raises:
        ValueError: Arguments that contradict each other, or inputs that do not fit them.

    Example:
        >>> import torch
        >>> neck = FPN((24, 40), 16, num_outs=4, top_block=dict(type='LastLevelP6P7'))
        >>> outs = neck([torch.rand(1, 24, 16, 16), torch.rand(1, 40, 8, 8)])
        >>> [tuple(out.shape) for out in outs]
        [(1, 16, 16, 16), (1, 16, 8, 8), (1, 16, 4, 4), (1, 16, 2, 2)]
    """

    default_init_cfg = dict(type='Xavier', layer='Conv2d', distribution='uniform')

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = None,
        act_cfg: ConfigType | None = None,
        upsample_cfg: ConfigType = dict(mode='nearest'),
        init_cfg: MultiConfig | None = default_init_cfg,
        top_block: ConfigType | None = None,
    ) -> None:
        check_arguments(
            FPN,
            locals(),
            start_level=_START,
            end_level=_END,
            top_block=LAYER,
            upsample_cfg=_UPSAMPLE,
        )
        check_init_cfg(init_cfg)
        super().__init__(copy.deepcopy(init_cfg))
        self.load_reports: list[LoadReport] = []
        self.in_channels = tuple(in_channels)
        self.out_channels = out_channels
        self.num_outs = num_outs
        self.start_level, self.end_level = _levels(len(self.in_channels), start_level, end_level)
        self.add_extra_convs = _extra_source(add_extra_convs)
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(upsample_cfg)
        used = self.in_channels[self.start_level : self.end_level + 1]
        num_extra = self._check_num_outs(len(used), top_block)

        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False)
        lateral_layers = dict(layers, norm_cfg=None) if no_norm_on_lateral else layers
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, **lateral_layers) for channels in used
        )
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, **layers) for _ in used
        )
        if self.add_extra_convs:
            for i in range(num_extra):
                from_input = i == 0 and self.add_extra_convs == 'on_input'
                channels = used[-1] if from_input else out_channels
                self.fpn_convs.append(
                    ConvModule(channels, out_channels, 3, stride=2, padding=1, **layers)
                )
        self.top_block = self._build_top_block(top_block, num_extra)
        register_key_mappings(self, FPN_KEY_MAPPINGS)

    def init_weights(self) -> None:
        """Initialises the weights, then loads those that ``init_cfg`` names."""
        if self.is_init:
            super().init_weights()
            return
        init_random(self, super().init_weights, self.default_init_cfg)
        self.load_reports += load_init_cfg(self)

    def _check_num_outs(self, num_used: int, top_block: ConfigType | None) -> int:
        num_extra = self.num_outs - num_used
        if num_extra < 0:
            raise ValueError(
                f'num_outs={self.num_outs}: the {num_used} inputs that are used (start_level='
                f'{self.start_level}, end_level={self.end_level}) give at least {num_used} outputs'
            )
        if self.add_extra_convs and top_block:
            raise ValueError(
                f'add_extra_convs={self.add_extra_convs!r} and top_block={top_block} both make '
                'the extra levels; give one of them'
            )
        if self.add_extra_convs and num_extra == 0:
            warnings.warn(
                f'add_extra_convs={self.add_extra_convs!r} has no effect: num_outs='
                f'{self.num_outs} leaves no extra level above {num_used} inputs',
                stacklevel=3,
            )
        return num_extra

    def _build_top_block(self, cfg: ConfigType | None, num_extra: int) -> TopBlock | None:
        if cfg is None:
            return None
        options = dict(cfg)
        block_class = find_layer(options.pop('type'), argument='top_block')
        # Where a class does not let the config choose, its source is a class attribute.
        source = options.get('source', getattr(block_class, 'source', 'on_input'))
        channels = self.in_channels[self.end_level] if source == 'on_input' else self.out_channels
        try:
            block = block_class(in_channels=channels, out_channels=self.out_channels, **options)
        except Exception as error:
            raise ValueError(
                f'top_block={shown(cfg)}: cannot be built: {first_line(error)}'
            ) from error
        if not isinstance(block, TopBlock):
            raise ValueError(f'top_block={shown(cfg)}: must be a TopBlock, such as LastLevelP6P7')
        if block.num_levels != num_extra:
            raise ValueError(
                f'top_block={cfg} makes {block.num_levels} levels, but num_outs={self.num_outs} '
                f'asks for {num_extra}: write '
                f'num_outs={self.num_outs - num_extra + block.num_levels}'
            )
        return block

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Computes the pyramid.

        Args:
            inputs: Maps of the backbone, highest resolution first.

        Returns:
            ``num_outs`` maps, highest resolution first.
        """
        self._check_inputs(inputs)
        inputs = inputs[self.start_level : self.end_level + 1]
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, inputs, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + self._upsample(laterals[i], laterals[i - 1])
        outs = [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=False)]
        sources = {'on_input': inputs[-1], 'on_lateral': laterals[-1], 'on_output': outs[-1]}
        if self.top_block is not None:
            outs += self.top_block(sources[self.top_block.source])
        elif self.add_extra_convs:
            x = sources[self.add_extra_convs]
            for i, conv in enumerate(self.fpn_convs[len(laterals) :]):
                x = conv(F.relu(x) if self.relu_before_extra_convs and i > 0 else x)
                outs.append(x)
        else:
            while len(outs) < self.num_outs:
                outs.append(F.max_pool2d(outs[-1], kernel_size=1, stride=2))
        return tuple(outs)

    def _check_inputs(self, inputs: Sequence[Tensor]) -> None:
        channels = tuple(x.shape[1] for x in inputs)
        if channels != self.in_channels:
            raise ValueError(
                f'FPN has in_channels={list(self.in_channels)}, but the backbone gives '
                f'{len(channels)} maps with {list(channels)} channels: write '
                f'in_channels={list(channels)} in the neck'
            )

    def _upsample(self, x: Tensor, like: Tensor) -> Tensor:
        if 'scale_factor' in self.upsample_cfg:
            return F.interpolate(x, **self.upsample_cfg)
        return F.interpolate(x, size=like.shape[2:], **self.upsample_cfg)


def _levels(num_ins: int, start_level: int, end_level: int) -> tuple[int, int]:
    last = num_ins - 1 if end_level == -1 else end_level
    if not 0 <= start_level <= last < num_ins:
        raise ValueError(
            f'start_level={start_level}, end_level={end_level}: with {num_ins} in_channels, '
            f'0 <= start_level <= end_level <= {num_ins - 1} must hold (end_level=-1: the last)'
        )
    return start_level, last


def _extra_source(add_extra_convs: bool | str) -> str | None:
    if isinstance(add_extra_convs, bool):
        return 'on_input' if add_extra_convs else None
    if add_extra_convs not in EXTRA_SOURCES:
        raise ValueError(
            f'add_extra_convs={add_extra_convs!r}: must be a bool or one of {EXTRA_SOURCES}'
        )
    return add_extra_convs
