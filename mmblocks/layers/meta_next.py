"""The block of InceptionNeXt."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from mmcv.cnn import build_activation_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from mmblocks.layers.conv import build_conv
from mmblocks.layers.inception_dwconv import InceptionDWConv2d
from mmblocks.layers.norm import build_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.utils.checks import check_arguments, share_of
from mmblocks.utils.types import ConfigType, MultiConfig


class MetaNeXtBlock(BaseModule):
    """An Inception depthwise convolution, norm and a two-layer MLP, beside a shortcut.

    From `InceptionNeXt <https://arxiv.org/abs/2303.16900>`_; keys are timm's. The MLP is made of
    1x1 convolutions.

    Args:
        in_channels: Channels of input and output.
        mlp_ratio: Channels between the layers of the MLP, per input channel.
        band_kernel_size: As InceptionDWConv2d's.
        branch_ratio: As InceptionDWConv2d's.
        dilation: Dilation of the depthwise convolution.
        layer_scale_init_value: Start of the learnt factors, one per channel, of what is added to
            the shortcut; 0 for no such factors.
        drop_path_rate: Share of the samples that skip the block in training, below 1.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layer.
        act_cfg: Activation within the MLP.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to the same.

    Example:
        >>> MetaNeXtBlock(64)(torch.rand(1, 64, 8, 8)).shape
        torch.Size([1, 64, 8, 8])
    """

    plugin_positions: ClassVar[dict[str, str]] = {'after_conv1': 'token_mixer', **AROUND_BLOCK}

    def __init__(
        self,
        in_channels: int,
        mlp_ratio: float = 4,
        band_kernel_size: int = 11,
        branch_ratio: float = 0.125,
        dilation: int = 1,
        layer_scale_init_value: float = 1e-6,
        drop_path_rate: float = 0.0,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        act_cfg: ConfigType = dict(type='GELU'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(MetaNeXtBlock, locals())
        super().__init__(init_cfg)
        mid_channels = share_of(in_channels, mlp_ratio, 'mlp_ratio')
        self.token_mixer = InceptionDWConv2d(
            in_channels,
            band_kernel_size=band_kernel_size,
            branch_ratio=branch_ratio,
            dilation=dilation,
            conv_cfg=conv_cfg,
        )
        self.norm = build_norm(norm_cfg, in_channels)[1]
        self.mlp = Sequential(
            OrderedDict(
                fc1=build_conv(conv_cfg, in_channels, mid_channels, 1),
                act=build_activation_layer(act_cfg),
                fc2=build_conv(conv_cfg, mid_channels, in_channels, 1),
            )
        )
        self.gamma = None
        if layer_scale_init_value:
            self.gamma = nn.Parameter(torch.full((in_channels,), float(layer_scale_init_value)))
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Mixes pixels, then channels, and adds the shortcut."""
        out = self.mlp(self.norm(self.token_mixer(x)))
        if self.gamma is None:
            return x + self.drop_path(out)
        out = self.drop_path(out * self.gamma[:, None, None])
        # The product is a tensor of its own that nothing else reads.
        out += x
        return out
