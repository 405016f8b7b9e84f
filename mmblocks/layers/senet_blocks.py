"""The residual blocks of SENet's published nets, which came from Caffe."""

from __future__ import annotations

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmblocks.layers.residual import BasicBlock, Bottleneck, ConvSpec, ResidualBlock
from mmblocks.layers.se_layer import SEModule
from mmblocks.utils.checks import MODULE, check_arguments


class SENetBlock(ResidualBlock):
    """A residual block with squeeze-and-excitation in front of the sum, with timm's keys.

    Concrete blocks say which convolutions it has. From `SENet
    <https://arxiv.org/abs/1709.01507>`_.

    Args:
        inplanes: Input channels.
        planes: Base channels; the output has ``planes * expansion``.
        stride: Stride of the block in pixels of its input.
        downsample: Module of the shortcut; None for the identity.
        style: 'pytorch' or 'caffe': whether a bottleneck's 3x3 or its first 1x1 has the stride.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, behind convolutions with bias.
        act_cfg: Activation behind the norms and the sum.
        width: Channels of the inner convolutions of a bottleneck; ``planes`` if left out.
        groups: Groups of a bottleneck's 3x3.
        se_ratio: Channels per hidden channel of the squeeze-and-excitation.

    Shape:
        (N, inplanes, H, W) to (N, planes * expansion, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'caffe',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU', inplace=True),
        width: int | None = None,
        groups: int = 1,
        se_ratio: int = 16,
    ) -> None:
        check_arguments(SENetBlock, locals(), downsample=MODULE)
        super().__init__(
            inplanes,
            planes,
            stride,
            downsample=downsample,
            style=style,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            width=width,
            groups=groups,
        )
        self.relu = build_activation_layer(act_cfg)
        self.se_module = SEModule(planes * self.expansion, se_ratio)

    def convolve(self, x: Tensor) -> Tensor:
        """Returns what is added to the shortcut."""
        return self.se_module(super().convolve(x))


class SENetBasicBlock(SENetBlock, BasicBlock):
    """Two 3x3 convolutions; unlike in the bottlenecks, both have an activation behind the norm.

    Example:
        >>> import torch
        >>> SENetBasicBlock(16, 16)(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    def convolve(self, x: Tensor) -> Tensor:
        """Returns what is added to the shortcut."""
        return self.se_module(self.relu(ResidualBlock.convolve(self, x)))


class SENetBottleneck(SENetBlock, Bottleneck):
    """1x1, 3x3 and 1x1 convolutions.

    Example:
        >>> import torch
        >>> SENetBottleneck(64, 16)(torch.rand(1, 64, 8, 8)).shape
        torch.Size([1, 64, 8, 8])
    """


class SENet154Bottleneck(SENetBottleneck):
    """A bottleneck whose 3x3 convolution gives twice the channels that its first 1x1 does.

    Example:
        >>> SENet154Bottleneck(64, 16, width=32, groups=16).conv2
        Conv2d(32, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=16, bias=False)
    """

    def conv_specs(
        self,
        inplanes: int,
        planes: int,
        stride: int,
        dilation: int,
        style: str,
        width: int,
        groups: int,
    ) -> list[ConvSpec]:
        """Returns the block's convolutions, in order."""
        first, second, last = super().conv_specs(
            inplanes, planes, stride, dilation, style, width, groups
        )
        return [
            first,
            second._replace(out_channels=2 * width),
            last._replace(in_channels=2 * width),
        ]
