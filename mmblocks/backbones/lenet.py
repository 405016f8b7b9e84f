"""LeNet-5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mmengine.model import Sequential
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.backbones.classifier import optional_classifier, outputs_with_classifier
from mmblocks.backbones.plain import Conv, Layer, LayerCfgs, Pool, plain_groups
from mmblocks.backbones.variant import Variant
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.key_mapping import drop_parts, register_key_mappings


@MODELS.register_module()
class LeNet5(BaseBackbone):
    """`LeNet-5 <https://ieeexplore.ieee.org/document/726791>`_, a reader of handwritten digits.

    Keys and layers are mmpretrain's, whose weights load as they are. Three groups, with 6, 16 and
    120 channels at strides 2, 4 and 4. No layer pads, so maps fall a few pixels short of the
    image's size over the stride.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        num_classes: Classes of the classifier, which takes images of 32 x 32 pixels; -1 for none.
        out_indices: Which of the three maps to give, 0 to 2. Default: the last one; with a
            classifier none.

    Raises:
        ValueError: When running: the classifier got images of another size.

    Example:
        >>> import torch
        >>> [tuple(x.shape) for x in LeNet5(num_classes=10)(torch.rand(2, 1, 32, 32))]
        [(2, 10)]
        >>> [tuple(x.shape) for x in LeNet5(out_indices=(0, 1, 2))(torch.rand(2, 1, 64, 64))]
        [(2, 6, 30, 30), (2, 16, 13, 13), (2, 120, 9, 9)]
    """

    variants = (Variant('LeNet-5', {}, ('mmpretrain',), image_size=32),)
    default_init_cfg = [
        dict(type='Xavier', layer=['Conv2d', 'Linear']),
        dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
    ]
    stages: ClassVar[tuple[tuple[Layer, ...], ...]] = (
        (Conv(6, 5), Pool(2, average=True)),
        (Conv(16, 5), Pool(2, average=True)),
        (Conv(120, 5),),
    )

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = -1,
        out_indices: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = None,
        act_cfg: ConfigType = dict(type='Tanh'),
        norm_eval: bool = False,
        with_cp: bool | str = False,
        init_cfg: MultiConfig | None = None,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(LeNet5, locals())
        out_indices = outputs_with_classifier(num_classes, out_indices, 2)
        super().__init__(
            out_indices, frozen_stages, norm_eval, with_cp, init_cfg, plugins, replace_convs
        )
        groups = plain_groups(self.stages, in_channels, LayerCfgs(conv_cfg, norm_cfg, act_cfg))
        classifier = optional_classifier(num_classes, _classifier)
        self.add_groups(groups, len(self.stages), classifier)
        if num_classes < 0:
            register_key_mappings(self, [drop_parts('mmpretrain', 'classifier')])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps and the logits.

        Args:
            x: Images, (N, in_channels, H, W); with a classifier of 32 x 32 pixels.

        Returns:
            One map per entry of ``out_indices``, highest resolution first; behind them, where
            there is a classifier, its logits, (N, num_classes).

        Raises:
            ValueError: The classifier got images of another size.
        """
        height, width = x.shape[2:]
        # Of these the last convolution leaves one pixel.
        if self.has_classifier and not (32 <= height < 36 and 32 <= width < 36):
            raise ValueError(
                f'images of {height} x {width} pixels: the classifier of LeNet5 takes 32 x 32; '
                'pad or resize them'
            )
        return super().forward(x)


def _classifier(in_channels: int, num_classes: int) -> dict[str, nn.Module]:
    layers = Sequential(nn.Linear(in_channels, 84), nn.Tanh(), nn.Linear(84, num_classes))
    return {'flatten': nn.Flatten(), 'classifier': layers}
