"""Network in network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.backbones.classifier import optional_classifier, outputs_with_classifier
from mmblocks.backbones.init_cfg import PLAIN_INIT_CFG
from mmblocks.backbones.plain import Conv, Dropout, Layer, LayerCfgs, Pool, plain_groups
from mmblocks.backbones.variant import Variant
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import drop_parts, register_key_mappings

_MAX = Pool(3, ceil_mode=True)
_AVERAGE = Pool(3, ceil_mode=True, average=True)


@MODELS.register_module()
class NIN(BaseBackbone):
    """`Network in network <https://arxiv.org/abs/1312.4400>`_: convolutions with an MLP per pixel.

    The layers are those of the Caffe Model Zoo's nets, every layer with a number of its own in
    the keys: the convolutions of the ImageNet net are ``features.{0,2,4,7,9,11,14,16,18,22,24}``
    and ``features.26``. Every group is one of the paper's mlpconv layers with the pooling in
    front of it: strides 4, 8, 16 and 32 (ImageNet), or 1, 2 and 4 (CIFAR). The ImageNet net's first
    convolution does not pad, so maps fall up to three pixels short of the image's size over the
    stride.

    The net has no linear layer: the last 1x1 convolution has one channel per class, and its map's
    mean is the logits. It therefore belongs to the classifier: without ``num_classes`` the last
    mlpconv layer ends before it, and there is no dropout.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: 'imagenet' or 'cifar'.
        out_indices: Which of the maps to give, 0 to 3, or 0 to 2 of the CIFAR net. Default: all;
            with a classifier none.
        norm_cfg: Norm behind every convolution but the classifier's; None for none, as
            published. A norm shifts the numbers in the keys, so that published weights no longer
            fit.
        act_cfg: Activation behind every convolution but the classifier's, which has a ReLU.
        drop_rate: Dropout rate in front of the last mlpconv layers, of a net with classifier.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> [tuple(x.shape) for x in NIN()(torch.rand(1, 3, 224, 224))]
        [(1, 96, 54, 54), (1, 256, 27, 27), (1, 384, 13, 13), (1, 1024, 6, 6)]
        >>> [tuple(x.shape) for x in NIN('cifar', num_classes=10)(torch.rand(2, 3, 32, 32))]
        [(2, 10)]
    """

    variants = (
        Variant('NIN ImageNet', {}, ()),
        Variant('NIN CIFAR', dict(arch='cifar'), (), image_size=32),
    )
    default_init_cfg = PLAIN_INIT_CFG
    arch_settings: ClassVar[dict[str, tuple[tuple[Layer, ...], ...]]] = {
        'imagenet': (
            (Conv(96, 11, stride=4), Conv(96, 1), Conv(96, 1)),
            (_MAX, Conv(256, 5, padding=2), Conv(256, 1), Conv(256, 1)),
            (_MAX, Conv(384, 3, padding=1), Conv(384, 1), Conv(384, 1)),
            (_MAX, Dropout(), Conv(1024, 3, padding=1), Conv(1024, 1)),
        ),
        'cifar': (
            (Conv(192, 5, padding=2), Conv(160, 1), Conv(96, 1)),
            (_MAX, Dropout(), Conv(192, 5, padding=2), Conv(192, 1), Conv(192, 1)),
            (_AVERAGE, Dropout(), Conv(192, 3, padding=1), Conv(192, 1)),
        ),
    }

    def __init__(
        self,
        arch: str = 'imagenet',
        num_classes: int = -1,
        out_indices: int | Sequence[int] | None = None,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = None,
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        in_channels: int = 3,
        drop_rate: float = 0.5,
        **kwargs: Any,
    ) -> None:
        check_choice('arch', arch, self.arch_settings)
        check_arguments(NIN, locals())
        stages = self.arch_settings[arch]
        out_indices = outputs_with_classifier(num_classes, out_indices, range(len(stages)))
        super().__init__(out_indices, **kwargs)
        self.arch = arch
        cfgs = LayerCfgs(conv_cfg, norm_cfg, act_cfg, drop_rate if num_classes > 0 else 0.0)
        groups = list(plain_groups(stages, in_channels, cfgs))
        number = sum(len(group.modules) for group in groups)
        classifier = optional_classifier(num_classes, _classifier, number=number)
        self.add_groups(groups, len(stages), classifier)
        if num_classes < 0:
            register_key_mappings(self, [drop_parts('Caffe', f'features.{number}')])


def _classifier(in_channels: int, num_classes: int, number: int) -> dict[str, nn.Module]:
    return {
        f'features.{number}': nn.Conv2d(in_channels, num_classes, 1),
        f'features.{number + 1}': nn.ReLU(inplace=True),
        'avgpool': nn.AdaptiveAvgPool2d(1),
        'flatten': nn.Flatten(),
    }
