"""The universal inverted bottleneck of MobileNetV4."""

from __future__ import annotations

from typing import Any, ClassVar

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.shortcut import add_shortcut
from mmblocks.utils.accepted import ODD
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


class UniversalInvertedResidual(BaseModule):
    """An inverted residual with up to two depthwise convolutions, beside a shortcut.

    From `MobileNetV4 <https://arxiv.org/abs/2404.10518>`_, with timm's keys. The first depthwise
    convolution runs before the expansion, the second between expansion and projection. With both
    it is the paper's ExtraDW, with the first alone ConvNeXt's block, with the second alone
    MobileNetV2's inverted residual, and with neither a feed-forward network. The shortcut is there
    where input and output have the same shape.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        mid_channels: Channels between expansion and projection.
        start_kernel_size: Kernel of the depthwise convolution before the expansion, in pixels;
            None for no such convolution.
        mid_kernel_size: Kernel of the one after the expansion; None for no such convolution.
        stride: Stride of the last depthwise convolution.
        dilation: Dilation of both depthwise convolutions.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        act_cfg: Activation of the expansion and of the depthwise convolution after it; None for
            none.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Raises:
        ValueError: An argument is out of its range, or there is a stride and no depthwise
            convolution.

    Example:
        >>> import torch
        >>> block = UniversalInvertedResidual(16, 24, 64, start_kernel_size=5, stride=2)
        >>> block(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 24, 4, 4])
    """

    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'dw_start',
        'after_conv2': 'pw_exp',
        'after_conv3': 'dw_mid',
        'after_conv4': 'pw_proj',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        start_kernel_size: int | None = None,
        mid_kernel_size: int | None = 3,
        stride: int = 1,
        dilation: int = 1,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType | None = dict(type='ReLU'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(
            UniversalInvertedResidual, locals(), start_kernel_size=ODD, mid_kernel_size=ODD
        )
        if stride > 1 and start_kernel_size is None and mid_kernel_size is None:
            raise ValueError(f'stride={stride}: needs start_kernel_size or mid_kernel_size')
        super().__init__(init_cfg)
        layers: dict[str, Any] = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)

        def depthwise(channels: int, kernel_size: int, **options: Any) -> ConvModule:
            padding = dilation * (kernel_size // 2)
            options |= dict(padding=padding, dilation=dilation, groups=channels) | layers
            return ConvModule(channels, channels, kernel_size, **options)

        self.dw_start: nn.Module | None = None
        if start_kernel_size is not None:
            start_stride = stride if mid_kernel_size is None else 1
            self.dw_start = depthwise(
                in_channels, start_kernel_size, stride=start_stride, act_cfg=None
            )
        self.pw_exp = ConvModule(in_channels, mid_channels, 1, act_cfg=act_cfg, **layers)
        self.dw_mid: nn.Module | None = None
        if mid_kernel_size is not None:
            self.dw_mid = depthwise(mid_channels, mid_kernel_size, stride=stride, act_cfg=act_cfg)
        self.pw_proj = ConvModule(mid_channels, out_channels, 1, act_cfg=None, **layers)
        self.with_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        out = x if self.dw_start is None else self.dw_start(x)
        out = self.pw_exp(out)
        if self.dw_mid is not None:
            out = self.dw_mid(out)
        out = self.pw_proj(out)
        if not self.with_shortcut:
            return out
        return add_shortcut(out, x, self.pw_proj.norm, self.pw_proj)
