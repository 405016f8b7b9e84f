"""Relatives of ResNet: other stems, shortcuts and blocks under the same options."""

from __future__ import annotations

import warnings
from typing import Any

from mmengine.registry import MODELS

from mmblocks.backbones.resnet import ResNet
from mmblocks.backbones.variant import Variant
from mmblocks.utils.checks import check_arguments, shown


def _with_fixed(cls: type, options: dict[str, Any], **fixed: bool) -> dict[str, Any]:
    """Adds the options that make a net what it is, which a config cannot give."""
    for name in fixed.keys() & options.keys():
        raise ValueError(
            f'{name}={shown(options[name])}: must be left out, as {cls.__name__} sets {name} by '
            'itself; ResNet takes it'
        )
    return options | fixed


@MODELS.register_module()
class ResNetV1c(ResNet):
    """ResNet-C of `Bag of Tricks <https://arxiv.org/abs/1812.01187>`_.

    A ResNet with ``deep_stem``.

    Args:
        depth: 18, 34, 50, 101 or 152.
        **kwargs: The other arguments of ResNet.

    Example:
        >>> net = ResNetV1c(18)
        >>> net.out_channels, net.out_strides
        ((64, 128, 256, 512), (4, 8, 16, 32))
    """

    variants = (Variant('ResNetV1c-50', dict(depth=50), ('mmpretrain', 'timm')),)

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, **_with_fixed(ResNetV1c, kwargs, deep_stem=True, avg_down=False))


@MODELS.register_module()
class ResNetV1d(ResNet):
    """ResNet-D of `Bag of Tricks <https://arxiv.org/abs/1812.01187>`_.

    A ResNet with ``deep_stem`` and ``avg_down``.

    Args:
        depth: 18, 34, 50, 101 or 152.
        **kwargs: The other arguments of ResNet.

    Example:
        >>> net = ResNetV1d(18, out_indices=(2, 3))
        >>> net.out_channels, net.out_strides
        ((256, 512), (16, 32))
    """

    variants = (Variant('ResNetV1d-50', dict(depth=50), ('mmdet', 'mmpretrain', 'timm')),)

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, **_with_fixed(ResNetV1d, kwargs, deep_stem=True, avg_down=True))


@MODELS.register_module()
class ResNeXt(ResNet):
    """`Aggregated Residual Transformations <https://arxiv.org/abs/1611.05431>`_.

    Defaults are mmdet's; mmpretrain's ``groups`` are 32.

    Args:
        depth: 50, 101 or 152.
        groups: Groups of the 3x3 convolutions; 1 gives a ResNet, with a warning.
        base_width: Channels per group in the first stage.
        width_per_group: mmpretrain's name of ``base_width``.
        **kwargs: The other arguments of ResNet.

    Raises:
        ValueError: ``base_width`` without groups, where it has no meaning, or under both names.

    Example:
        >>> net = ResNeXt(50, groups=32, base_width=4)
        >>> net.layer1[0].conv2
        Conv2d(128, 128, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=32, bias=False)
    """

    variants = (
        Variant(
            'ResNeXt-50 32x4d',
            dict(depth=50, groups=32, base_width=4),
            ('mmdet', 'torchvision', 'timm', 'mmpretrain'),
        ),
    )
    arch_settings = {depth: ResNet.arch_settings[depth] for depth in (50, 101, 152)}

    def __init__(
        self,
        depth: int,
        groups: int = 1,
        base_width: int = 4,
        width_per_group: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_arguments(ResNeXt, locals())
        if width_per_group is not None:
            if base_width not in (4, width_per_group):
                raise ValueError(
                    f'width_per_group={width_per_group} and base_width={base_width} mean the same: '
                    'give one of them'
                )
            base_width = width_per_group
        if groups == 1 and base_width != 4:
            raise ValueError(f'base_width={base_width} has no effect with groups=1')
        if groups == 1:
            warnings.warn(
                'ResNeXt with groups=1 is a ResNet; mmpretrain means groups=32 where a config '
                'leaves them out',
                stacklevel=2,
            )
        self.groups = groups
        self.base_width = base_width
        super().__init__(depth, **kwargs)

    def block_options(self, planes: int) -> dict[str, Any]:
        """Returns groups and inner width of the stage's blocks."""
        if self.groups == 1:
            return {}
        width_per_group = planes * self.base_width // self.base_channels
        return dict(groups=self.groups, width=width_per_group * self.groups)


@MODELS.register_module()
class SEResNet(ResNet):
    """ResNet with squeeze-and-excitation, from `SENet <https://arxiv.org/abs/1709.01507>`_.

    Args:
        depth: 18, 34, 50, 101 or 152.
        se_ratio: Channels per hidden channel of the squeeze-and-excitation.
        **kwargs: The other arguments of ResNet.

    Example:
        >>> net = SEResNet(18)
        >>> net.layer4[1].se_layer.conv1.conv
        Conv2d(512, 32, kernel_size=(1, 1), stride=(1, 1))
    """

    variants = (Variant('SEResNet-50', dict(depth=50), ('mmpretrain', 'timm')),)

    def __init__(self, depth: int, se_ratio: int = 16, **kwargs: Any) -> None:
        check_arguments(SEResNet, locals())
        self.se_ratio = se_ratio
        super().__init__(depth, **kwargs)

    def block_options(self, planes: int) -> dict[str, Any]:
        """Returns the blocks' squeeze ratio."""
        return dict(se_ratio=self.se_ratio)
