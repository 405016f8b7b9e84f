"""Residual blocks that begin with norm and activation, with squeeze-and-excitation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.residual import ConvSpec
from mmblocks.layers.se_layer import SEModule
from mmblocks.utils.checks import check_arguments


class PreActBlock(BaseModule):
    """Convolutions, each behind its norm and activation; concrete blocks say which.

    From `Identity Mappings in Deep Residual Networks <https://arxiv.org/abs/1603.05027>`_, with
    the squeeze-and-excitation of `SENet <https://arxiv.org/abs/1709.01507>`_ in front of the
    sum. Nothing follows the sum. Keys are those of timm's ResNetV2.

    Args:
        inplanes: Input channels.
        planes: Base channels; the output has ``planes * expansion``.
        stride: Stride of the block in pixels of its input.
        dilation: Dilation of the 3x3 convolutions.
        first_dilation: Dilation of the first of them; ``dilation`` if left out.
        downsample: Whether the shortcut is a 1x1 convolution, over the first norm and activation,
            and not the input itself.
        se_ratio: Channels per hidden channel of the squeeze-and-excitation; None for none.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activation behind every norm.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: The shortcut would not fit the sum.

    Shape:
        (N, inplanes, H, W) to (N, planes * expansion, ceil(H / stride), ceil(W / stride)).
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        downsample: bool = False,
        se_ratio: int | None = 16,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU', inplace=True),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_arguments(PreActBlock, locals())
        super().__init__(init_cfg)
        channels = planes * self.expansion
        self.downsample = None
        if downsample:
            conv = build_conv(conv_cfg, inplanes, channels, 1, stride=stride, bias=norm_cfg is None)
            self.downsample = Sequential(OrderedDict(conv=conv))
        elif stride != 1 or inplanes != channels:
            raise ValueError(
                f'stride={stride} from {inplanes} to {channels} channels needs downsample=True'
            )
        specs = self.conv_specs(inplanes, planes, stride, dilation, first_dilation or dilation)
        for i, spec in enumerate(specs, 1):
            # No name of its own for another norm than BN, as in timm.
            self.add_module(f'norm{i}', build_norm(norm_cfg, spec.in_channels)[1])
            conv = build_conv(
                conv_cfg,
                spec.in_channels,
                spec.out_channels,
                spec.kernel_size,
                stride=spec.stride,
                padding=spec.dilation * (spec.kernel_size // 2),
                dilation=spec.dilation,
                bias=norm_cfg is None,
            )
            self.add_module(f'conv{i}', conv)
        self.num_convs = len(specs)
        self.act = build_activation_layer(act_cfg)
        self.se = None if se_ratio is None else SEModule(channels, se_ratio)

    def conv_specs(
        self, inplanes: int, planes: int, stride: int, dilation: int, first_dilation: int
    ) -> Sequence[ConvSpec]:
        """Returns the block's convolutions, in order."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        # An activation in place overwrites what the norm has made, never the block's input.
        out = self.act(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        for i in range(2, self.num_convs + 1):
            out = self.act(getattr(self, f'norm{i}')(out))
            out = getattr(self, f'conv{i}')(out)
        if self.se is not None:
            out = self.se(out)
        return out + shortcut


class PreActBasicBlock(PreActBlock):
    """Two 3x3 convolutions, the first one with the stride.

    Example:
        >>> import torch
        >>> block = PreActBasicBlock(16, 32, stride=2, downsample=True)
        >>> block(torch.rand(1, 16, 8, 8)).shape
        torch.Size([1, 32, 4, 4])
    """

    plugin_places: ClassVar[dict[str, str]] = {
        'after_conv1': 'conv1',
        'after_conv2': 'conv2',
        **AROUND_BLOCK,
    }

    def conv_specs(
        self, inplanes: int, planes: int, stride: int, dilation: int, first_dilation: int
    ) -> Sequence[ConvSpec]:
        """Returns the block's convolutions, in order."""
        return (
            ConvSpec(3, inplanes, planes, stride, first_dilation),
            ConvSpec(3, planes, planes, 1, dilation),
        )


class PreActBottleneck(PreActBlock):
    """1x1, 3x3 and 1x1 convolutions, the 3x3 with the stride.

    Example:
        >>> import torch
        >>> block = PreActBottleneck(64, 16)
        >>> block(torch.rand(1, 64, 8, 8)).shape
        torch.Size([1, 64, 8, 8])
    """

    expansion = 4
    plugin_places: ClassVar[dict[str, str]] = {
        'after_conv1': 'conv1',
        'after_conv2': 'conv2',
        'after_conv3': 'conv3',
        **AROUND_BLOCK,
    }

    def conv_specs(
        self, inplanes: int, planes: int, stride: int, dilation: int, first_dilation: int
    ) -> Sequence[ConvSpec]:
        """Returns the block's convolutions, in order."""
        return (
            ConvSpec(1, inplanes, planes),
            ConvSpec(3, planes, planes, stride, first_dilation),
            ConvSpec(1, planes, planes * self.expansion),
        )
