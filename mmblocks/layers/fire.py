"""The fire module."""

from __future__ import annotations

from typing import ClassVar

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


@MODELS.register_module()
class FireModule(BaseModule):
    """Few channels by a 1x1 convolution, many from them by a 1x1 and a 3x3 one side by side.

    From `SqueezeNet <https://arxiv.org/abs/1602.07360>`_; keys are torchvision's.

    Args:
        in_channels: Input channels.
        squeeze_channels: Channels between.
        expand1x1_channels: Output channels of the 1x1 convolution.
        expand3x3_channels: Output channels of the 3x3 convolution, which come after the others.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm after every convolution; None for none, as published.
        act_cfg: Activation after every convolution.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, expand1x1_channels + expand3x3_channels, H, W).

    Example:
        >>> FireModule(96, 16, 64, 64)(torch.rand(2, 96, 8, 8)).shape
        torch.Size([2, 128, 8, 8])
    """

    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'squeeze_activation',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        in_channels: int,
        squeeze_channels: int,
        expand1x1_channels: int,
        expand3x3_channels: int,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = None,
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(FireModule, locals())
        super().__init__(init_cfg)
        self.out_channels = expand1x1_channels + expand3x3_channels

        def norm(channels: int) -> nn.Module:
            return build_norm(norm_cfg, channels)[1]

        self.squeeze = build_conv(conv_cfg, in_channels, squeeze_channels, 1)
        self.squeeze_norm = norm(squeeze_channels)
        self.squeeze_activation = build_activation_layer(act_cfg)
        self.expand1x1 = build_conv(conv_cfg, squeeze_channels, expand1x1_channels, 1)
        self.expand1x1_norm = norm(expand1x1_channels)
        self.expand1x1_activation = build_activation_layer(act_cfg)
        self.expand3x3 = build_conv(conv_cfg, squeeze_channels, expand3x3_channels, 3, padding=1)
        self.expand3x3_norm = norm(expand3x3_channels)
        self.expand3x3_activation = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Squeezes, expands twice and stacks."""
        x = self.squeeze_activation(self.squeeze_norm(self.squeeze(x)))
        near = self.expand1x1_activation(self.expand1x1_norm(self.expand1x1(x)))
        wide = self.expand3x3_activation(self.expand3x3_norm(self.expand3x3(x)))
        return torch.cat([near, wide], dim=1)
