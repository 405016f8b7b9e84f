"""The Inception block of GoogLeNet and its auxiliary classifier."""

from __future__ import annotations

from typing import ClassVar

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.utils.accepted import COUNT
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


class Inception(BaseModule):
    """Four branches side by side: 1x1, two kinds of 1x1 then 3x3, and pooling then 1x1.

    From `Going deeper with convolutions <https://arxiv.org/abs/1409.4842>`_. Arguments and keys
    are torchvision's, and so is the kernel of the third branch: 3x3, where the paper has 5x5.

    Args:
        in_channels: Input channels.
        ch1x1: Output channels of the first branch.
        ch3x3red: Channels between the convolutions of the second branch.
        ch3x3: Output channels of the second branch.
        ch5x5red: Channels between the convolutions of the third branch.
        ch5x5: Output channels of the third branch.
        pool_proj: Output channels of the branch that pools.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activation after every convolution; None for none.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to (N, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W).

    Example:
        >>> Inception(192, 64, 96, 128, 16, 32, 32)(torch.rand(1, 192, 8, 8)).shape
        torch.Size([1, 256, 8, 8])
    """

    plugin_positions: ClassVar[dict[str, str]] = {**AROUND_BLOCK}

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', eps=0.001),
        act_cfg: ConfigType | None = dict(type='ReLU'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(Inception, locals())
        super().__init__(init_cfg)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.out_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj
        self.branch1 = ConvModule(in_channels, ch1x1, 1, **layers)
        self.branch2 = Sequential(
            ConvModule(in_channels, ch3x3red, 1, **layers),
            ConvModule(ch3x3red, ch3x3, 3, padding=1, **layers),
        )
        self.branch3 = Sequential(
            ConvModule(in_channels, ch5x5red, 1, **layers),
            ConvModule(ch5x5red, ch5x5, 3, padding=1, **layers),
        )
        self.branch4 = Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            ConvModule(in_channels, pool_proj, 1, **layers),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Runs the branches and joins their maps."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x) for branch in branches], dim=1)


class InceptionAux(BaseModule):
    """The classifier that hangs on the middle of GoogLeNet during training.

    From `Going deeper with convolutions <https://arxiv.org/abs/1409.4842>`_. Keys are
    torchvision's.

    Args:
        in_channels: Input channels.
        num_classes: Number of classes.
        drop_rate: Share of the hidden values that are zeroed in training, 0 to 1.
        conv_cfg: Convolution layer; None for Conv2d.
        norm_cfg: Norm layer.
        act_cfg: Activation after the convolution and the hidden linear layer; None for none.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) of any height and width, which are pooled to 4x4, to
        (N, num_classes).

    Example:
        >>> InceptionAux(512, 10)(torch.rand(2, 512, 14, 14)).shape
        torch.Size([2, 10])
    """

    pooled_size = 4
    conv_channels = 128
    hidden_channels = 1024

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        drop_rate: float = 0.7,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', eps=0.001),
        act_cfg: ConfigType | None = dict(type='ReLU'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(InceptionAux, locals(), num_classes=COUNT)
        super().__init__(init_cfg)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.pool = nn.AdaptiveAvgPool2d(self.pooled_size)
        self.conv = ConvModule(in_channels, self.conv_channels, 1, **layers)
        self.fc1 = nn.Linear(self.conv_channels * self.pooled_size**2, self.hidden_channels)
        self.activate = nn.Identity() if act_cfg is None else build_activation_layer(act_cfg)
        self.dropout = nn.Dropout(drop_rate)
        self.fc2 = nn.Linear(self.hidden_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = self.conv(self.pool(x)).flatten(1)
        return self.fc2(self.dropout(self.activate(self.fc1(x))))
