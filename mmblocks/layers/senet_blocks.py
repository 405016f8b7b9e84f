"""The residual blocks of SENet's published nets, which came from Caffe."""

from __future__ import annotations

from typing import ClassVar

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import add_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.se_layer import SEModule
from mmblocks.utils.accepted import MODULE
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import ConfigType


class SENetBasicBlock(BaseModule):
    """Two 3x3 convolutions and squeeze-and-excitation beside a shortcut.

    From `SENet <https://arxiv.org/abs/1709.01507>`_, with timm's keys. Unlike in the bottlenecks,
    the last convolution has an activation, too.

    Args:
        inplanes: Input channels.
        planes: Output channels.
        stride: Stride of the first convolution.
        downsample: Module of the shortcut; None for the identity.
        style: 'pytorch' or 'caffe', which differ in the bottlenecks only.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        act_cfg: Activation after the norms and the sum.
        width: Not used; the bottlenecks'.
        groups: Not used; the bottlenecks'.
        se_ratio: Channels per hidden channel of the squeeze-and-excitation.

    Shape:
        (N, inplanes, H, W) to (N, planes, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> SENetBasicBlock(16, 16)(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    expansion: ClassVar[int] = 1
    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'after_conv1',
        'after_conv2': 'after_conv2',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'caffe',
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        width: int | None = None,
        groups: int = 1,
        se_ratio: int = 16,
    ) -> None:
        check_choice('style', style, ('pytorch', 'caffe'))
        check_arguments(SENetBasicBlock, locals(), downsample=MODULE)
        super().__init__()
        layers: ConfigType = dict(kernel_size=3, padding=1, bias=norm_cfg is None)
        self.conv1 = build_conv(conv_cfg, inplanes, planes, stride=stride, **layers)
        self.norm1_name = add_norm(self, norm_cfg, planes, postfix=1)
        self.after_conv1 = nn.Identity()
        self.conv2 = build_conv(conv_cfg, planes, planes, **layers)
        self.norm2_name = add_norm(self, norm_cfg, planes, postfix=2)
        self.after_conv2 = nn.Identity()
        self.relu = build_activation_layer(act_cfg)
        self.downsample = downsample
        self.se_module = SEModule(planes, se_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions, weighs their channels and adds the shortcut."""
        out = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        out = self.after_conv1(out)

        out = getattr(self, self.norm2_name)(self.conv2(out))
        # Plugins come before the activation, as in every other block's last position.
        out = self.se_module(self.relu(self.after_conv2(out)))

        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class SENetBottleneck(BaseModule):
    """1x1, 3x3 and 1x1 convolutions and squeeze-and-excitation beside a shortcut.

    From `SENet <https://arxiv.org/abs/1709.01507>`_, with timm's keys.

    Args:
        inplanes: Input channels.
        planes: Base channels; the output has ``planes * expansion``.
        stride: Stride of the block.
        downsample: Module of the shortcut; None for the identity.
        style: 'pytorch': the 3x3 convolution has the stride; 'caffe': the first 1x1.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        act_cfg: Activation after the norms and the sum.
        width: Output channels of the first convolution; ``planes`` if left out.
        groups: Groups of the 3x3 convolution.
        se_ratio: Channels per hidden channel of the squeeze-and-excitation.

    Shape:
        (N, inplanes, H, W) to (N, planes * expansion, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> SENetBottleneck(64, 16)(torch.rand(1, 64, 8, 8)).shape
        torch.Size([1, 64, 8, 8])
    """

    expansion: ClassVar[int] = 4
    # Output channels of the 3x3 convolution per input channel.
    conv2_expansion: ClassVar[int] = 1
    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'after_conv1',
        'after_conv2': 'after_conv2',
        'after_conv3': 'after_conv3',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'caffe',
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        width: int | None = None,
        groups: int = 1,
        se_ratio: int = 16,
    ) -> None:
        check_choice('style', style, ('pytorch', 'caffe'))
        check_arguments(SENetBottleneck, locals(), downsample=MODULE)
        super().__init__()
        bias = norm_cfg is None
        width = width or planes
        width2 = width * self.conv2_expansion
        out_channels = planes * self.expansion
        stride1, stride2 = (stride, 1) if style == 'caffe' else (1, stride)
        self.conv1 = build_conv(conv_cfg, inplanes, width, kernel_size=1, stride=stride1, bias=bias)
        self.norm1_name = add_norm(self, norm_cfg, width, postfix=1)
        self.after_conv1 = nn.Identity()
        self.conv2 = build_conv(
            conv_cfg,
            width,
            width2,
            kernel_size=3,
            stride=stride2,
            padding=1,
            groups=groups,
            bias=bias,
        )
        self.norm2_name = add_norm(self, norm_cfg, width2, postfix=2)
        self.after_conv2 = nn.Identity()
        self.conv3 = build_conv(conv_cfg, width2, out_channels, kernel_size=1, bias=bias)
        self.norm3_name = add_norm(self, norm_cfg, out_channels, postfix=3)
        self.after_conv3 = nn.Identity()
        self.relu = build_activation_layer(act_cfg)
        self.downsample = downsample
        self.se_module = SEModule(out_channels, se_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions, weighs their channels and adds the shortcut."""
        out = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        out = self.after_conv1(out)

        out = self.relu(getattr(self, self.norm2_name)(self.conv2(out)))
        out = self.after_conv2(out)

        out = getattr(self, self.norm3_name)(self.conv3(out))
        out = self.se_module(self.after_conv3(out))

        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class SENet154Bottleneck(SENetBottleneck):
    """A bottleneck whose 3x3 convolution doubles the channels.

    Example:
        >>> SENet154Bottleneck(64, 16, width=32, groups=16).conv2
        Conv2d(32, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=16, bias=False)
    """

    conv2_expansion = 2
