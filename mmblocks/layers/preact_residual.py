"""Residual blocks that begin with norm and activation, with squeeze-and-excitation."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.se_layer import SEModule
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


class PreActBasicBlock(BaseModule):
    """Two 3x3 convolutions, each after its norm and activation, beside a shortcut.

    From `Identity Mappings in Deep Residual Networks <https://arxiv.org/abs/1603.05027>`_, with
    the squeeze-and-excitation of `SENet <https://arxiv.org/abs/1709.01507>`_ before the sum.
    Nothing follows the sum. Keys are those of timm's ResNetV2.

    Args:
        inplanes: Input channels.
        planes: Output channels.
        stride: Stride of the first convolution.
        dilation: Dilation of the second convolution.
        first_dilation: Dilation of the first convolution; ``dilation`` if left out.
        downsample: Whether the shortcut is a 1x1 convolution, over the first norm and activation,
            and not the input itself.
        se_ratio: Channels per hidden channel of the squeeze-and-excitation; None for none.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activation after every norm.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: The shortcut would not fit the sum.

    Shape:
        (N, inplanes, H, W) to (N, planes, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> block = PreActBasicBlock(16, 32, stride=2, downsample=True)
        >>> block(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 32, 4, 4])
    """

    expansion: ClassVar[int] = 1
    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'conv1',
        'after_conv2': 'conv2',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        downsample: bool = False,
        se_ratio: int | None = 16,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(PreActBasicBlock, locals())
        super().__init__(init_cfg)
        bias = norm_cfg is None
        first_dilation = first_dilation or dilation
        self.downsample = _downsample(inplanes, planes, stride, downsample, conv_cfg, bias)
        # All norms first: fuse_conv_bn folds a norm into the convolution registered before it,
        # but between those two a plugin may run.
        self.norm1 = build_norm(norm_cfg, inplanes)[1]
        self.norm2 = build_norm(norm_cfg, planes)[1]
        self.conv1 = build_conv(
            conv_cfg,
            inplanes,
            planes,
            kernel_size=3,
            stride=stride,
            padding=first_dilation,
            dilation=first_dilation,
            bias=bias,
        )
        self.conv2 = build_conv(
            conv_cfg,
            planes,
            planes,
            kernel_size=3,
            padding=dilation,
            dilation=dilation,
            bias=bias,
        )
        self.act = build_activation_layer(act_cfg)
        self.se = None if se_ratio is None else SEModule(planes, se_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        # An activation in place overwrites the norm's output, never the block's input.
        out = self.act(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        out = self.conv2(self.act(self.norm2(out)))
        if self.se is not None:
            out = self.se(out)
        return out + shortcut


class PreActBottleneck(BaseModule):
    """1x1, 3x3 and 1x1 convolutions, each after its norm and activation, beside a shortcut.

    From `Identity Mappings in Deep Residual Networks <https://arxiv.org/abs/1603.05027>`_, with
    the squeeze-and-excitation of `SENet <https://arxiv.org/abs/1709.01507>`_ before the sum.
    Nothing follows the sum. Keys are those of timm's ResNetV2.

    Args:
        inplanes: Input channels.
        planes: Base channels; the output has ``planes * expansion``.
        stride: Stride of the 3x3 convolution.
        dilation: Dilation of the 3x3 convolution.
        first_dilation: The same under another name, as this block has one 3x3 convolution only;
            ``dilation`` if left out.
        downsample: Whether the shortcut is a 1x1 convolution, over the first norm and activation,
            and not the input itself.
        se_ratio: Channels per hidden channel of the squeeze-and-excitation; None for none.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activation after every norm.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: The shortcut would not fit the sum.

    Shape:
        (N, inplanes, H, W) to (N, planes * expansion, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> block = PreActBottleneck(64, 16)
        >>> block(torch.rand(1, 64, 8, 8)).shape
        torch.Size([1, 64, 8, 8])
    """

    expansion: ClassVar[int] = 4
    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'conv1',
        'after_conv2': 'conv2',
        'after_conv3': 'conv3',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        downsample: bool = False,
        se_ratio: int | None = 16,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(PreActBottleneck, locals())
        super().__init__(init_cfg)
        bias = norm_cfg is None
        channels = planes * self.expansion
        dilation = first_dilation or dilation
        self.downsample = _downsample(inplanes, channels, stride, downsample, conv_cfg, bias)
        # All norms first: fuse_conv_bn folds a norm into the convolution registered before it,
        # but between those two a plugin may run.
        self.norm1 = build_norm(norm_cfg, inplanes)[1]
        self.norm2 = build_norm(norm_cfg, planes)[1]
        self.norm3 = build_norm(norm_cfg, planes)[1]
        self.conv1 = build_conv(conv_cfg, inplanes, planes, kernel_size=1, bias=bias)
        self.conv2 = build_conv(
            conv_cfg,
            planes,
            planes,
            kernel_size=3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            bias=bias,
        )
        self.conv3 = build_conv(conv_cfg, planes, channels, kernel_size=1, bias=bias)
        self.act = build_activation_layer(act_cfg)
        self.se = None if se_ratio is None else SEModule(channels, se_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        # An activation in place overwrites the norm's output, never the block's input.
        out = self.act(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        out = self.conv2(self.act(self.norm2(out)))
        out = self.conv3(self.act(self.norm3(out)))
        if self.se is not None:
            out = self.se(out)
        return out + shortcut


def _downsample(
    inplanes: int,
    channels: int,
    stride: int,
    downsample: bool,
    conv_cfg: ConfigType | None,
    bias: bool,
) -> Sequential | None:
    """Returns the module of the shortcut, None for the identity."""
    if downsample:
        conv = build_conv(conv_cfg, inplanes, channels, 1, stride=stride, bias=bias)
        return Sequential(OrderedDict(conv=conv))
    if stride != 1 or inplanes != channels:
        raise ValueError(
            f'stride={stride} from {inplanes} to {channels} channels needs downsample=True'
        )
    return None
