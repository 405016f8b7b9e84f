"""The dense block of DenseNet and the transition between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.utils.checkpoint import checkpoint_call
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


class DenseLayer(BaseModule):
    """A 1x1 and a 3x3 convolution over all maps before, each after its norm and activation.

    From `Densely connected convolutional networks <https://arxiv.org/abs/1608.06993>`_. Keys are
    torchvision's.

    Args:
        in_channels: Channels of all input maps together.
        growth_rate: Output channels.
        bn_size: Channels between the convolutions, per output channel.
        drop_rate: Share of the output values that are zeroed in training, 0 to 1.
        memory_efficient: Keep neither the joined maps nor what the 1x1 convolution reads of them
            for backward, but compute them again.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activation after both norms.
        init_cfg: MMEngine's initialisation config.

    Shape:
        A list of (N, C_i, H, W) with ``in_channels`` in all to (N, growth_rate, H, W).

    Example:
        >>> layer = DenseLayer(12, growth_rate=8)
        >>> layer([torch.rand(1, 4, 6, 6), torch.rand(1, 8, 6, 6)]).shape
        torch.Size([1, 8, 6, 6])
    """

    plugin_positions: ClassVar[dict[str, str]] = {'after_conv1': 'conv1', 'after_conv2': 'conv2'}

    def __init__(
        self,
        in_channels: int,
        growth_rate: int,
        bn_size: int = 4,
        drop_rate: float = 0.0,
        memory_efficient: bool = False,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(DenseLayer, locals())
        super().__init__(init_cfg)
        mid_channels = bn_size * growth_rate
        self.memory_efficient = memory_efficient
        bias = norm_cfg is None
        # Both norms first: fuse_conv_bn folds a norm into the convolution registered before it,
        # but between conv1 and norm2 a plugin may run.
        self.norm1 = build_norm(norm_cfg, in_channels)[1]
        self.norm2 = build_norm(norm_cfg, mid_channels)[1]
        self.act1 = build_activation_layer(act_cfg)
        self.conv1 = build_conv(conv_cfg, in_channels, mid_channels, 1, bias=bias)
        self.act2 = build_activation_layer(act_cfg)
        self.conv2 = build_conv(conv_cfg, mid_channels, growth_rate, 3, padding=1, bias=bias)
        self.dropout = nn.Dropout(drop_rate) if drop_rate else nn.Identity()

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns the new maps alone."""
        if self.memory_efficient:
            # Joining is part of what is recomputed: the joined maps of all layers together grow
            # with the square of their number.
            x = checkpoint_call(self._squeeze, features, [self])
        else:
            x = self._squeeze(*features)
        return self.dropout(self.conv2(self.act2(self.norm2(x))))

    def _squeeze(self, *features: Tensor) -> Tensor:
        return self.conv1(self.act1(self.norm1(torch.cat(features, dim=1))))


class DenseBlock(BaseModule):
    """Layers that each read the maps of all layers before, and of the block's input.

    From `Densely connected convolutional networks <https://arxiv.org/abs/1608.06993>`_. Keys are
    torchvision's: ``denselayer1`` and so on.

    Args:
        num_layers: Number of layers.
        in_channels: Input channels.
        growth_rate: Channels that each layer adds.
        init_cfg: MMEngine's initialisation config.
        **layer_options: The other arguments of DenseLayer.

    Shape:
        (N, in_channels, H, W) to (N, in_channels + num_layers * growth_rate, H, W).

    Example:
        >>> DenseBlock(3, 16, growth_rate=8)(torch.rand(1, 16, 6, 6)).shape
        torch.Size([1, 40, 6, 6])
    """

    plugin_positions: ClassVar[dict[str, str]] = {**AROUND_BLOCK}

    def __init__(
        self,
        num_layers: int,
        in_channels: int,
        growth_rate: int,
        init_cfg: MultiConfig | None = None,
        **layer_options: Any,
    ) -> None:
        check_arguments(DenseBlock, locals())
        super().__init__(init_cfg)
        self.out_channels = in_channels + num_layers * growth_rate
        for i in range(num_layers):
            layer = DenseLayer(in_channels + i * growth_rate, growth_rate, **layer_options)
            self.add_module(f'denselayer{i + 1}', layer)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the input and every layer's maps, joined."""
        features = [x]
        for name, layer in self.named_children():
            if name.startswith('denselayer'):  # and not a plugin
                features.append(layer(features))
        return torch.cat(features, dim=1)


class DenseTransition(BaseModule):
    """Norm, activation, a 1x1 convolution and 2x2 average pooling.

    From `Densely connected convolutional networks <https://arxiv.org/abs/1608.06993>`_. Keys are
    torchvision's.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        conv_cfg: Convolution layer; None for Conv2d.
        norm_cfg: Norm layer.
        act_cfg: Activation.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, H // 2, W // 2).

    Example:
        >>> DenseTransition(16, 8)(torch.rand(1, 16, 7, 6)).shape
        torch.Size([1, 8, 3, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='ReLU'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(DenseTransition, locals())
        super().__init__(init_cfg)
        self.norm = build_norm(norm_cfg, in_channels)[1]
        self.act = build_activation_layer(act_cfg)
        self.conv = build_conv(conv_cfg, in_channels, out_channels, 1, bias=norm_cfg is None)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Runs norm, activation, convolution and pooling."""
        return self.pool(self.conv(self.act(self.norm(x))))
