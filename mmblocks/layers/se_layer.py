"""Squeeze-and-excitation: channels weighted by what the whole map holds."""

from __future__ import annotations

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn


class SqueezeExcite(BaseModule):
    """Squeeze-and-excitation of `SENet <https://arxiv.org/abs/1709.01507>`_, with timm's keys.

    Args:
        channels: Channels of the map.
        squeeze_channels: Channels of the hidden layer.
        act_cfg: Activation of the hidden layer.
        gate_cfg: Function from the excitation to weights, mostly a sigmoid.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, channels, H, W) to the same.

    Example:
        >>> import torch
        >>> SqueezeExcite(16, 4)(torch.rand(2, 16, 8, 8)).shape
        torch.Size([2, 16, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        squeeze_channels: int,
        act_cfg: dict | None = None,
        gate_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.conv_reduce = nn.Conv2d(channels, squeeze_channels, 1)
        self.act1 = build_activation_layer(act_cfg or dict(type='ReLU', inplace=True))
        self.conv_expand = nn.Conv2d(squeeze_channels, channels, 1)
        self.gate = build_activation_layer(gate_cfg or dict(type='Sigmoid'))

    def forward(self, x: Tensor) -> Tensor:
        """Weighs the channels of ``x``."""
        weights = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.conv_expand(self.act1(self.conv_reduce(weights))))
