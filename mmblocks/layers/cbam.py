"""CBAM: channel attention, then spatial attention."""

from __future__ import annotations

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.conv_module import ConvModule
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig


@MODELS.register_module()
class CBAM(BaseModule):
    """Channel attention from the pooled map, then spatial attention from the pooled channels.

    From `CBAM <https://arxiv.org/abs/1807.06521>`_; keys are those of timm's CbamModule. As a
    plugin: ``plugins=[dict(cfg=dict(type='mmblocks.CBAM'), position='after_conv2')]``.

    Args:
        in_channels: Channels of the map.
        squeeze_channels: Channels of the channel attention's hidden layer; ``in_channels / ratio``,
            rounded, if left out.
        ratio: Channels per hidden channel.
        kernel_size: Kernel of the spatial attention's convolution in pixels, an odd number.
        bias: Whether the hidden layer and the one after it have a bias.
        norm_cfg: Norm of the spatial attention, a map of one channel; None for none.
        act_cfg: Activation of the hidden layer.
        gate_cfg: Activation that makes the weights, mostly a sigmoid.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to the same.

    Raises:
        ValueError: ``kernel_size`` is not odd, or ``ratio`` or ``squeeze_channels`` not positive.

    Example:
        >>> CBAM(32)(torch.rand(2, 32, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        squeeze_channels: int | None = None,
        ratio: float = 16,
        kernel_size: int = 7,
        bias: bool = False,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        gate_cfg: ConfigType = dict(type='Sigmoid'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(CBAM, locals())
        super().__init__(init_cfg)
        if squeeze_channels is None:
            squeeze_channels = make_divisible(in_channels / ratio, 1, min_ratio=0)
        self.channel = _ChannelAttention(in_channels, squeeze_channels, bias, act_cfg, gate_cfg)
        self.spatial = _SpatialAttention(kernel_size, norm_cfg, gate_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs the channels of ``x``, then its pixels."""
        return self.spatial(self.channel(x))


class _ChannelAttention(BaseModule):
    """One perceptron for the means and the maxima of the channels, added up."""

    def __init__(
        self,
        channels: int,
        squeeze_channels: int,
        bias: bool,
        act_cfg: ConfigType,
        gate_cfg: ConfigType,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze_channels, 1, bias=bias)
        self.act = build_activation_layer(act_cfg)
        self.fc2 = nn.Conv2d(squeeze_channels, channels, 1, bias=bias)
        self.gate = build_activation_layer(gate_cfg)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True))))
        peak = self.fc2(self.act(self.fc1(x.amax((2, 3), keepdim=True))))
        return x * self.gate(mean + peak)


class _SpatialAttention(BaseModule):
    """A convolution of the means and the maxima over the channels."""

    def __init__(self, kernel_size: int, norm_cfg: ConfigType | None, gate_cfg: ConfigType) -> None:
        super().__init__()
        self.conv = ConvModule(
            2, 1, kernel_size, padding=kernel_size // 2, norm_cfg=norm_cfg, act_cfg=None
        )
        self.gate = build_activation_layer(gate_cfg)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * self.gate(self.conv(pooled))
