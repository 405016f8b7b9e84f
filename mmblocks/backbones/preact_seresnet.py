"""The pre-activation SE-ResNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from mmcv.cnn import build_activation_layer
from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.classifier import optional_classifier, outputs_with_classifier
from mmblocks.backbones.output_stride import BlockStride, limit_strides
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.preact_residual import PreActBasicBlock, PreActBottleneck
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import KeyMapping, register_key_mappings


class _Arch(NamedTuple):
    block: type[PreActBasicBlock] | type[PreActBottleneck]
    stage_blocks: tuple[int, int, int, int]


class _Stem(NamedTuple):
    kernel_size: int
    conv_stride: int
    max_pool: bool


@MODELS.register_module()
class PreActSEResNet(BaseBackbone):
    """Pre-activation ResNet with squeeze-and-excitation in every block.

    `Identity Mappings in Deep Residual Networks <https://arxiv.org/abs/1603.05027>`_ (ResNet v2)
    with the blocks of `SENet <https://arxiv.org/abs/1709.01507>`_. State-dict keys are those of
    timm's ``resnetv2_18``, ``_34``, ``_50``, ``_101`` and ``_152``, plus ``se.fc1`` and
    ``se.fc2`` in each block; with ``se_ratio=None`` the weights of timm load as they are. Map i is
    the end of stage i, stride 4, 8, 16 or 32 (1, 2, 4 or 8 with ``stem='cifar'``): the plain sum,
    but behind the last stage stand its norm and activation.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: Channels of the stem and of the first stage's inner convolutions.
        stem: 'imagenet': a 7x7 convolution and a max pool, both of stride 2; 'cifar': one 3x3
            convolution of stride 1, for images of about 32 pixels.
        se_ratio: Channels per hidden channel of each squeeze-and-excitation; None for a plain
            pre-activation ResNet.
        out_indices: Which of the maps to give, 0 to 3. Default: all, or with a classifier none.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> net = PreActSEResNet(18)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4), (1, 512, 2, 2)]
        >>> PreActSEResNet(18, stem='cifar').out_strides
        (1, 2, 4, 8)
    """

    variants = (
        *(Variant(f'PreActSEResNet-{d}', dict(depth=d), ()) for d in (18, 34, 50)),
        *(
            Variant(f'PreActResNet-{d}', dict(depth=d, se_ratio=None), ('timm',))
            for d in (18, 34, 50)
        ),
    )
    arch_settings: ClassVar[dict[int, _Arch]] = {
        18: _Arch(PreActBasicBlock, (2, 2, 2, 2)),
        34: _Arch(PreActBasicBlock, (3, 4, 6, 3)),
        50: _Arch(PreActBottleneck, (3, 4, 6, 3)),
        101: _Arch(PreActBottleneck, (3, 4, 23, 3)),
        152: _Arch(PreActBottleneck, (3, 8, 36, 3)),
    }
    stem_settings: ClassVar[dict[str, _Stem]] = {
        'imagenet': _Stem(7, 2, max_pool=True),
        'cifar': _Stem(3, 1, max_pool=False),
    }

    def __init__(
        self,
        depth: int = 18,
        in_channels: int = 3,
        base_channels: int = 64,
        stem: str = 'imagenet',
        se_ratio: int | None = 16,
        num_classes: int = -1,
        out_indices: int | Sequence[int] | None = None,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        output_stride: int = 32,
        drop_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        check_choice('depth', depth, self.arch_settings)
        check_choice('stem', stem, self.stem_settings)
        check_arguments(PreActSEResNet, locals())
        out_indices = outputs_with_classifier(num_classes, out_indices, (0, 1, 2, 3))
        super().__init__(out_indices, **kwargs)
        self.depth = depth
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        stem_group = _stem(self.stem_settings[stem], in_channels, base_channels, layers)
        # Each stage: its first block, and those behind it.
        places = limit_strides([1, 1, 2, 1, 2, 1, 2, 1], output_stride, stem_group.stride)
        groups = self._groups(stem_group, depth, places, dict(layers, se_ratio=se_ratio))
        classifier = optional_classifier(num_classes, _classifier, drop_rate=drop_rate)
        self.add_groups(groups, 4, classifier)
        num_stages = len(self.arch_settings[depth].stage_blocks)
        register_key_mappings(self, _key_mappings(num_stages, with_classifier=num_classes > 0))

    def _groups(
        self, stem: Group, depth: int, places: Sequence[BlockStride], block_args: ConfigType
    ) -> Iterator[Group]:
        yield stem
        block, stage_blocks = self.arch_settings[depth]
        channels = stem.channels
        for i, num_blocks in enumerate(stage_blocks):
            first, rest = places[2 * i : 2 * i + 2]
            planes = stem.channels * 2**i
            out_channels = planes * block.expansion
            options = dict(block_args, dilation=rest.dilation)
            blocks = [
                block(
                    channels,
                    planes,
                    first.stride,
                    first_dilation=first.dilation,
                    downsample=channels != out_channels,
                    **options,
                )
            ]
            channels = out_channels
            blocks += [block(channels, planes, **options) for _ in range(num_blocks - 1)]
            modules: dict[str, nn.Module] = {f'stages.{i}.blocks': Sequential(*blocks)}
            if i == len(stage_blocks) - 1:
                modules['norm'] = build_norm(block_args['norm_cfg'], channels)[1]
                modules['act'] = build_activation_layer(block_args['act_cfg'])
            yield Group(modules, channels, rest.total)


def _stem(stem: _Stem, in_channels: int, channels: int, layers: ConfigType) -> Group:
    modules: dict[str, nn.Module] = {
        'stem.conv': build_conv(
            layers['conv_cfg'],
            in_channels,
            channels,
            stem.kernel_size,
            stride=stem.conv_stride,
            padding=stem.kernel_size // 2,
            bias=layers['norm_cfg'] is None,
        )
    }
    if stem.max_pool:
        modules['stem.pool'] = nn.MaxPool2d(3, stride=2, padding=1)
    return Group(modules, channels, stem.conv_stride * (1 + stem.max_pool), is_output=False)


def _classifier(in_channels: int, num_classes: int, drop_rate: float) -> dict[str, nn.Module]:
    head = OrderedDict(
        global_pool=nn.AdaptiveAvgPool2d(1),
        drop=nn.Dropout(drop_rate),
        # A convolution, as in timm, so it must be kept from being initialised as the others are.
        fc=nn.Conv2d(in_channels, num_classes, 1),
        flatten=nn.Flatten(),
    )
    return {'head': Sequential(head, init_cfg=dict(type='Normal', layer='Conv2d', std=0.01))}


def _key_mappings(num_stages: int, with_classifier: bool) -> tuple[KeyMapping, ...]:
    stages = ((f'stages.{i}', f'stages_{i}') for i in range(num_stages))
    return (
        KeyMapping(
            'timm with another stem',
            r'stem[._](conv1|norm)',
            refused='the stem is another one there, so the outputs would differ',
        ),
        KeyMapping(
            'timm with features_only',
            r'stem_conv\.',
            # It has neither the last norm nor a classifier; so they are not written.
            (('stem.conv', 'stem_conv'), *stages),
            dropped=('norm', 'head'),
        ),
        KeyMapping('timm', r'head\.', dropped=() if with_classifier else ('head',)),
    )
