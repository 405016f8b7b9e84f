"""The cross stage partial blocks C3 and C2f and the bottleneck in them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
from mmengine.model import BaseModule, ModuleList, Sequential
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.utils.accepted import ODD, Accepted, is_list_of
from mmblocks.utils.checks import check_arguments, share_of
from mmblocks.utils.types import ConfigType, MultiConfig

_TWO_KERNELS = Accepted(
    lambda value: is_list_of(ODD.fits, value) and len(value) == 2, 'two odd ints of at least 1'
)


def spatial_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    use_depthwise: bool = False,
    **layers: ConfigType | None,
) -> nn.Module:
    """Builds a convolution with norm and activation that keeps the size but for its stride.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel in pixels, an odd number.
        stride: Stride.
        use_depthwise: Build a depthwise and a 1x1 convolution instead, each with norm and
            activation, with the keys of mmcv's DepthwiseSeparableConvModule. A 1x1 convolution
            stays as it is.
        **layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg``.

    Returns:
        The module, from (N, in_channels, H, W) to
        (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> spatial_conv(8, 16, 3, stride=2, use_depthwise=True)(torch.rand(1, 8, 9, 9)).shape
        torch.Size([1, 16, 5, 5])
    """
    options = dict(kernel_size=kernel_size, stride=stride, padding=kernel_size // 2, **layers)
    if not use_depthwise or kernel_size == 1:
        return ConvModule(in_channels, out_channels, **options)
    return Sequential(
        OrderedDict(
            depthwise_conv=ConvModule(in_channels, in_channels, groups=in_channels, **options),
            pointwise_conv=ConvModule(in_channels, out_channels, 1, **layers),
        )
    )


@MODELS.register_module()
class DarknetBottleneck(BaseModule):
    """Two convolutions beside a shortcut.

    From `YOLOv3 <https://arxiv.org/abs/1804.02767>`_, whose kernels are the default; C2f has two
    3x3 ones. Keys are mmdet's.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        expansion: Channels between the convolutions, per output channel.
        add_identity: Whether to add the input where it has the output's channels.
        use_depthwise: Replace convolutions larger than 1x1 by depthwise separable ones.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none.
        act_cfg: Activation layers; None for none.
        init_cfg: MMEngine's initialisation config.
        kernel_size: Kernels of the two convolutions in pixels, odd numbers.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, H, W).

    Example:
        >>> DarknetBottleneck(16, 16)(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    plugin_positions: ClassVar[dict[str, str]] = {'after_conv1': 'conv1', 'after_conv2': 'conv2'}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float = 0.5,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg: ConfigType | None = dict(type='Swish'),
        init_cfg: MultiConfig | None = None,
        kernel_size: Sequence[int] = (1, 3),
    ) -> None:
        check_arguments(DarknetBottleneck, locals(), kernel_size=_TWO_KERNELS)
        super().__init__(init_cfg)
        mid_channels = share_of(out_channels, expansion, 'expansion')
        first, second = kernel_size
        layers: ConfigType = dict(
            use_depthwise=use_depthwise, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg
        )
        self.conv1 = spatial_conv(in_channels, mid_channels, first, **layers)
        self.conv2 = spatial_conv(mid_channels, out_channels, second, **layers)
        self.add_identity = add_identity and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        out = self.conv2(self.conv1(x))
        return x + out if self.add_identity else out


@MODELS.register_module()
class C3(BaseModule):
    """Bottlenecks on one of two narrowed copies of the input: three convolutions around them.

    The block of `YOLOv5 <https://github.com/ultralytics/yolov5>`_ after `CSPNet
    <https://arxiv.org/abs/1911.11929>`_. Computes what mmdet's CSPLayer does, under its keys.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        expand_ratio: Channels of each copy, per output channel.
        num_blocks: Number of bottlenecks.
        add_identity: Whether the bottlenecks have a shortcut.
        use_depthwise: Replace the bottlenecks' 3x3 convolutions by depthwise separable ones.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none.
        act_cfg: Activation layers; None for none.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, H, W).

    Example:
        >>> C3(16, 24, num_blocks=2)(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 24, 8, 8])
    """

    plugin_positions: ClassVar[dict[str, str]] = {**AROUND_BLOCK}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 0.5,
        num_blocks: int = 1,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg: ConfigType | None = dict(type='Swish'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(C3, locals())
        super().__init__(init_cfg)
        mid_channels = share_of(out_channels, expand_ratio, 'expand_ratio')
        layers: ConfigType = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.main_conv = ConvModule(in_channels, mid_channels, 1, **layers)
        self.short_conv = ConvModule(in_channels, mid_channels, 1, **layers)
        self.final_conv = ConvModule(2 * mid_channels, out_channels, 1, **layers)
        self.blocks = Sequential(
            *(
                DarknetBottleneck(
                    mid_channels, mid_channels, 1.0, add_identity, use_depthwise, **layers
                )
                for _ in range(num_blocks)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Runs both paths and merges them."""
        main = self.blocks(self.main_conv(x))
        return self.final_conv(torch.cat([main, self.short_conv(x)], dim=1))


@MODELS.register_module()
class C2f(BaseModule):
    """Bottlenecks on one half of a map, and every result along the way kept: two convolutions.

    The block of `YOLOv8 <https://github.com/ultralytics/ultralytics>`_ after `CSPNet
    <https://arxiv.org/abs/1911.11929>`_. Keys are those of mmyolo's CSPLayerWithTwoConv.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        expand_ratio: Channels of each half, per output channel.
        num_blocks: Number of bottlenecks, each fed by the one before; two 3x3 convolutions each.
        add_identity: Whether the bottlenecks have a shortcut.
        use_depthwise: Replace 3x3 convolutions by depthwise separable ones.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none.
        act_cfg: Activation layers; None for none.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, H, W).

    Example:
        >>> C2f(16, 24, num_blocks=2)(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 24, 8, 8])
    """

    plugin_positions: ClassVar[dict[str, str]] = {**AROUND_BLOCK}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 0.5,
        num_blocks: int = 1,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg: ConfigType | None = dict(type='Swish'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(C2f, locals())
        super().__init__(init_cfg)
        mid_channels = share_of(out_channels, expand_ratio, 'expand_ratio')
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.main_conv = ConvModule(in_channels, 2 * mid_channels, 1, **layers)
        self.final_conv = ConvModule((2 + num_blocks) * mid_channels, out_channels, 1, **layers)
        self.blocks = ModuleList(
            DarknetBottleneck(
                mid_channels,
                mid_channels,
                1.0,
                add_identity,
                use_depthwise,
                kernel_size=(3, 3),
                **layers,
            )
            for _ in range(num_blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Splits the map, runs the bottlenecks and joins all pieces."""
        pieces = list(self.main_conv(x).chunk(2, dim=1))
        for block in self.blocks:
            pieces.append(block(pieces[-1]))
        return self.final_conv(torch.cat(pieces, dim=1))
