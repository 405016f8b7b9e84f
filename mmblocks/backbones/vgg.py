"""VGG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.backbones.classifier import optional_classifier, outputs_with_classifier
from mmblocks.backbones.plain import Conv, Layer, LayerCfgs, Pool, plain_groups
from mmblocks.backbones.variant import Variant
from mmblocks.layers.norm import build_norm
from mmblocks.utils.accepted import COUNT
from mmblocks.utils.checks import check_arguments, check_choice, check_per_stage
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import KeyMapping, drop_parts, register_key_mappings


@MODELS.register_module()
class VGG(BaseBackbone):
    """`VGG <https://arxiv.org/abs/1409.1556>`_: 3x3 convolutions in five stages.

    Every stage is a group and ends with its pooling, so its map has stride 2, 4, 8, 16 or 32.
    Arguments are mmpretrain's, keys torchvision's (``features.N``, ``classifier.N``). Weights of
    torchvision, mmpretrain, timm and the trunk of mmdet's SSDVGG load as they are; those with
    BatchNorm need ``norm_cfg=dict(type='BN')``, behind convolutions that keep their bias.

    The classifier pools to 7 x 7 as torchvision's does. timm has a convolution there: it gives the
    same up to 224 pixels, and the mean over all positions of larger images.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        depth: 11, 13, 16 or 19.
        num_stages: How many stages are built, 1 to 5; a classifier needs all.
        dilations: Dilation of each stage's convolutions. The poolings stay, so strides do too.
        out_indices: Which stages give an output, from 0. Default: the last one; with a
            classifier none, which mmpretrain writes as (5,). A pyramid of strides 4 to 32 takes
            (1, 2, 3, 4).
        ceil_mode: Pool the border's odd pixels too, so that maps have the image's size over the
            stride, rounded up; without it, down.
        with_last_pool: Whether the last stage ends with a pooling.
        drop_rate: Dropout rate behind the classifier's first two layers.

    Example:
        >>> import torch
        >>> net = VGG(11, out_indices=(1, 2, 3, 4))
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 64, 64))]
        [(1, 128, 16, 16), (1, 256, 8, 8), (1, 512, 4, 4), (1, 512, 2, 2)]
    """

    variants = tuple(
        Variant(
            f'VGG-{depth}',
            dict(depth=depth, out_indices=(1, 2, 3, 4)),
            ('torchvision', 'mmpretrain', 'timm'),
        )
        for depth in (11, 13, 16, 19)
    )
    default_init_cfg = [
        *BaseBackbone.default_init_cfg,
        dict(type='Normal', layer='Linear', std=0.01),
    ]
    # Convolutions of each stage.
    arch_settings: ClassVar[dict[int, tuple[int, ...]]] = {
        11: (1, 1, 2, 2, 2),
        13: (2, 2, 2, 2, 2),
        16: (2, 2, 3, 3, 3),
        19: (2, 2, 4, 4, 4),
    }
    stage_channels: ClassVar[tuple[int, ...]] = (64, 128, 256, 512, 512)

    def __init__(
        self,
        depth: int,
        num_classes: int = -1,
        num_stages: int = 5,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = None,
        act_cfg: ConfigType = dict(type='ReLU'),
        norm_eval: bool = False,
        ceil_mode: bool = False,
        with_last_pool: bool = True,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        with_cp: bool | str = False,
        drop_rate: float = 0.5,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_choice('depth', depth, self.arch_settings)
        check_choice('num_stages', num_stages, range(1, 6))
        check_per_stage('dilations', dilations, num_stages, COUNT)
        check_arguments(VGG, locals())
        out_indices = outputs_with_classifier(num_classes, out_indices, num_stages - 1)
        if num_classes > 0 and num_stages < 5:
            raise ValueError(
                f'num_stages={num_stages}: the classifier of num_classes={num_classes} needs 5'
            )
        if num_classes > 0:
            # mmpretrain counts the classifier, too; its logits are given in any case.
            given = [out_indices] if isinstance(out_indices, int) else out_indices
            out_indices = tuple(i for i in given if i != num_stages)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        self.depth = depth
        stages = self._stages(depth, dilations, ceil_mode, with_last_pool)
        groups = plain_groups(stages, in_channels, LayerCfgs(conv_cfg, norm_cfg, act_cfg))
        dropped = ('classifier', 'pre_logits', 'head') if num_classes < 0 else ()
        mmpretrain = _mmpretrain(self.arch_settings[depth], norm_cfg, dropped)
        classifier = optional_classifier(num_classes, _classifier, drop_rate=drop_rate)
        self.add_groups(groups, num_stages, classifier)
        if num_classes < 0:
            register_key_mappings(self, [mmpretrain, drop_parts('torchvision', *dropped)])
        else:
            register_key_mappings(self, [mmpretrain, _TIMM])

    def _stages(
        self, depth: int, dilations: Sequence[int], ceil_mode: bool, with_last_pool: bool
    ) -> Iterator[list[Layer]]:
        rows = zip(self.arch_settings[depth], self.stage_channels, dilations, strict=False)
        for i, (num_convs, channels, dilation) in enumerate(rows, 1):
            conv = Conv(channels, 3, padding=dilation, dilation=dilation)
            layers: list[Layer] = [conv] * num_convs
            if i < len(dilations) or with_last_pool:
                layers.append(Pool(2, ceil_mode=ceil_mode))
            yield layers


def _classifier(in_channels: int, num_classes: int, drop_rate: float) -> dict[str, nn.Module]:
    layers = Sequential(
        nn.Linear(in_channels * 7 * 7, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(drop_rate),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(drop_rate),
        nn.Linear(4096, num_classes),
    )
    return {'avgpool': nn.AdaptiveAvgPool2d(7), 'flatten': nn.Flatten(), 'classifier': layers}


def _mmpretrain(
    stages: Sequence[int], norm_cfg: ConfigType | None, dropped: tuple[str, ...]
) -> KeyMapping:
    """Returns mmpretrain's names, whose numbers count a convolution with all that follows it."""
    pairs = []
    theirs = ours = 0
    norm, _ = build_norm(norm_cfg, VGG.stage_channels[0])
    for num_convs in stages:
        for _ in range(num_convs):
            pairs.append((f'features.{ours}', f'features.{theirs}.conv'))
            pairs.append((f'features.{ours + 1}', f'features.{theirs}.{norm}'))
            theirs, ours = theirs + 1, ours + (3 if norm_cfg else 2)
        theirs, ours = theirs + 1, ours + 1
    return KeyMapping('mmpretrain', r'features\.\d+\.conv\.', tuple(pairs), dropped)


_TIMM = KeyMapping(
    'timm',
    r'pre_logits\.',
    (
        ('classifier.0', 'pre_logits.fc1'),
        ('classifier.3', 'pre_logits.fc2'),
        ('classifier.6', 'head.fc'),
    ),
    # Convolutions that cover their whole input.
    kernels={'pre_logits.fc1.weight': (512, 7, 7), 'pre_logits.fc2.weight': (4096, 1, 1)},
)
