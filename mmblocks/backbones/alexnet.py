"""AlexNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.backbones.classifier import optional_classifier, outputs_with_classifier
from mmblocks.backbones.init_cfg import PLAIN_INIT_CFG
from mmblocks.backbones.plain import Conv, Layer, LayerCfgs, Pool, plain_groups
from mmblocks.backbones.variant import Variant
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import drop_parts, register_key_mappings


@MODELS.register_module()
class AlexNet(BaseBackbone):
    """AlexNet in the form of `One weird trick <https://arxiv.org/abs/1404.5997>`_.

    Keys and layers are torchvision's, and mmpretrain's are the same: weights of both load as they
    are. Four groups: the first convolution (stride 4), the second behind its pooling (8), the other
    three behind theirs (16) and the last pooling (32). The poolings and the first convolution do
    not pad to the full size, so maps fall one or two pixels short of the image's size over the
    stride.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        out_indices: Which of the four maps to give, 0 to 3. Default: all; with a classifier none.
        norm_cfg: Norm behind every convolution; None for none, as published. A norm shifts the
            numbers in the keys, so that published weights no longer fit.
        drop_rate: Dropout rate in front of the classifier's first two layers.

    Example:
        >>> import torch
        >>> [tuple(x.shape) for x in AlexNet()(torch.rand(1, 3, 224, 224))]
        [(1, 64, 55, 55), (1, 192, 27, 27), (1, 256, 13, 13), (1, 256, 6, 6)]
    """

    variants = (Variant('AlexNet', {}, ('torchvision', 'mmpretrain')),)
    default_init_cfg = PLAIN_INIT_CFG
    stages: ClassVar[tuple[tuple[Layer, ...], ...]] = (
        (Conv(64, 11, stride=4, padding=2),),
        (Pool(3), Conv(192, 5, padding=2)),
        (Pool(3), Conv(384, 3, padding=1), Conv(256, 3, padding=1), Conv(256, 3, padding=1)),
        (Pool(3),),
    )

    def __init__(
        self,
        num_classes: int = -1,
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = None,
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        norm_eval: bool = False,
        with_cp: bool | str = False,
        init_cfg: MultiConfig | None = None,
        in_channels: int = 3,
        drop_rate: float = 0.5,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(AlexNet, locals())
        out_indices = outputs_with_classifier(num_classes, out_indices, (0, 1, 2, 3))
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        groups = plain_groups(self.stages, in_channels, LayerCfgs(conv_cfg, norm_cfg, act_cfg))
        classifier = optional_classifier(num_classes, _classifier, drop_rate=drop_rate)
        self.add_groups(groups, len(self.stages), classifier)
        if num_classes < 0:
            register_key_mappings(self, [drop_parts('torchvision', 'classifier')])


def _classifier(in_channels: int, num_classes: int, drop_rate: float) -> dict[str, nn.Module]:
    layers = Sequential(
        nn.Dropout(drop_rate),
        nn.Linear(in_channels * 6 * 6, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(drop_rate),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, num_classes),
    )
    return {'avgpool': nn.AdaptiveAvgPool2d(6), 'flatten': nn.Flatten(), 'classifier': layers}
