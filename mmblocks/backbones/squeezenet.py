"""SqueezeNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.backbones.classifier import optional_classifier, outputs_with_classifier
from mmblocks.backbones.init_cfg import PLAIN_INIT_CFG
from mmblocks.backbones.plain import Conv, Layer, LayerCfgs, Pool, plain_groups
from mmblocks.backbones.variant import Variant
from mmblocks.layers.fire import FireModule
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import drop_parts, register_key_mappings


@dataclass(frozen=True)
class _Fire:
    squeeze_channels: int
    expand_channels: int

    stride: ClassVar[int] = 1

    @property
    def channels(self) -> int:
        return 2 * self.expand_channels

    def build(self, in_channels: int, cfgs: LayerCfgs) -> list[nn.Module]:
        widths = (self.squeeze_channels, self.expand_channels, self.expand_channels)
        return [FireModule(in_channels, *widths, cfgs.conv_cfg, cfgs.norm_cfg, cfgs.act_cfg)]


_POOL = Pool(3, ceil_mode=True)


@MODELS.register_module()
class SqueezeNet(BaseBackbone):
    """`SqueezeNet <https://arxiv.org/abs/1602.07360>`_, made of fire modules.

    Keys and layers are torchvision's, whose weights load as they are. Four groups: the first
    convolution (stride 2) and the fire modules behind each pooling (strides 4, 8 and 16). The first
    convolution does not pad, so maps may fall up to three pixels short of the image's size over the
    stride.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        arch: '1_0', the paper's, or '1_1', which pools earlier and costs 2.4 times less; also
            '1.0' or '1.1', or as the number that a command line makes of it.
        out_indices: Which of the four maps to give, 0 to 3. Default: (1, 2, 3), so strides 4 to
            16; with a classifier none.
        norm_cfg: Norm behind every convolution but the classifier's; None for none, as
            published. A norm shifts the numbers in the keys, so that published weights no longer
            fit.
        act_cfg: Activation behind every convolution but the classifier's, which has a ReLU.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> [tuple(x.shape) for x in SqueezeNet('1_1')(torch.rand(1, 3, 64, 64))]
        [(1, 128, 15, 15), (1, 256, 7, 7), (1, 512, 3, 3)]
    """

    variants = tuple(
        Variant(f'SqueezeNet {arch}', dict(arch=arch), ('torchvision',)) for arch in ('1_0', '1_1')
    )
    default_init_cfg = PLAIN_INIT_CFG
    arch_settings: ClassVar[dict[str, tuple[tuple[Layer, ...], ...]]] = {
        '1_0': (
            (Conv(96, 7, stride=2),),
            (_POOL, _Fire(16, 64), _Fire(16, 64), _Fire(32, 128)),
            (_POOL, _Fire(32, 128), _Fire(48, 192), _Fire(48, 192), _Fire(64, 256)),
            (_POOL, _Fire(64, 256)),
        ),
        '1_1': (
            (Conv(64, 3, stride=2),),
            (_POOL, _Fire(16, 64), _Fire(16, 64)),
            (_POOL, _Fire(32, 128), _Fire(32, 128)),
            (_POOL, _Fire(48, 192), _Fire(48, 192), _Fire(64, 256), _Fire(64, 256)),
        ),
    }

    def __init__(
        self,
        arch: str | float = '1_0',
        num_classes: int = -1,
        out_indices: int | Sequence[int] | None = None,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = None,
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        in_channels: int = 3,
        drop_rate: float = 0.5,
        **kwargs: Any,
    ) -> None:
        check_arguments(SqueezeNet, locals())
        arch = self._arch_named(arch)
        out_indices = outputs_with_classifier(num_classes, out_indices, (1, 2, 3))
        super().__init__(out_indices, **kwargs)
        self.arch = arch
        stages = self.arch_settings[arch]
        groups = plain_groups(stages, in_channels, LayerCfgs(conv_cfg, norm_cfg, act_cfg))
        classifier = optional_classifier(num_classes, _classifier, drop_rate=drop_rate)
        self.add_groups(groups, len(stages), classifier)
        if num_classes < 0:
            register_key_mappings(self, [drop_parts('torchvision', 'classifier')])

    def _arch_named(self, arch: str | float) -> str:
        # To Python, and so on a command line, 1_1 is the number 11.
        for name in self.arch_settings:
            if str(arch) in (name, name.replace('_', ''), name.replace('_', '.')):
                return name
        raise ValueError(f'arch={arch!r}: must be one of {list(self.arch_settings)}')


def _classifier(in_channels: int, num_classes: int, drop_rate: float) -> dict[str, nn.Module]:
    layers = Sequential(
        nn.Dropout(drop_rate),
        nn.Conv2d(in_channels, num_classes, 1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
    )
    return {'classifier': layers, 'flatten': nn.Flatten()}
