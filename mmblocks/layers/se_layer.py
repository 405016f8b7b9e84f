"""Squeeze-and-excitation: channels weighted by the means of the whole map."""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.conv_module import ConvModule
from mmblocks.utils.accepted import ACTIVATION, AUTO_FLAG, Accepted, is_layer_cfg, is_list_of
from mmblocks.utils.checks import check, check_arguments
from mmblocks.utils.make_divisible import make_divisible
from mmblocks.utils.types import ConfigType, MultiConfig


class SqueezeExcite(BaseModule):
    """Squeeze-and-excitation of `SENet <https://arxiv.org/abs/1709.01507>`_, with timm's keys.

    Args:
        channels: Channels of the map.
        squeeze_channels: Channels of the hidden layer.
        act_cfg: Activation of the hidden layer.
        gate_cfg: Activation that makes the weights, mostly a sigmoid.
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
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        gate_cfg: ConfigType = dict(type='Sigmoid'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(SqueezeExcite, locals())
        super().__init__(init_cfg)
        self.conv_reduce = nn.Conv2d(channels, squeeze_channels, 1)
        self.act1 = build_activation_layer(act_cfg)
        self.conv_expand = nn.Conv2d(squeeze_channels, channels, 1)
        self.gate = build_activation_layer(gate_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs the channels of ``x``."""
        means = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.conv_expand(self.act1(self.conv_reduce(means))))


class SEModule(BaseModule):
    """Squeeze-and-excitation of `SENet <https://arxiv.org/abs/1709.01507>`_, as in timm's ResNets.

    Args:
        channels: Channels of the map.
        ratio: Channels per hidden channel, of which there is one at least.
        act_cfg: Activation of the hidden layer.
        gate_cfg: Activation that makes the weights, mostly a sigmoid.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, channels, H, W) to the same.

    Example:
        >>> SEModule(32, ratio=4).fc1
        Conv2d(32, 8, kernel_size=(1, 1), stride=(1, 1))
    """

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        act_cfg: ConfigType = dict(type='ReLU', inplace=True),
        gate_cfg: ConfigType = dict(type='Sigmoid'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(SEModule, locals())
        super().__init__(init_cfg)
        squeeze_channels = max(channels // ratio, 1)
        self.fc1 = nn.Conv2d(channels, squeeze_channels, 1)
        self.act1 = build_activation_layer(act_cfg)
        self.fc2 = nn.Conv2d(squeeze_channels, channels, 1)
        self.gate = build_activation_layer(gate_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs the channels of ``x``."""
        means = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.fc2(self.act1(self.fc1(means))))


def _is_activation(value: object) -> bool:
    return value is None or is_layer_cfg(value)


_ONE_OR_TWO = Accepted(
    lambda value: is_layer_cfg(value) or (is_list_of(_is_activation, value) and len(value) == 2),
    "one dict such as dict(type='ReLU') or two",
)


@MODELS.register_module()
class SELayer(BaseModule):
    """Squeeze-and-excitation of `SENet <https://arxiv.org/abs/1709.01507>`_, with mmdet's keys.

    Args:
        channels: Channels of the map.
        squeeze_channels: Channels of the hidden layer; ``channels / ratio`` rounded to a
            multiple of ``divisor`` if left out.
        ratio: Channels per hidden channel.
        divisor: What the number of hidden channels is a multiple of.
        bias: Whether the convolutions have a bias; 'auto' means yes, as there is no norm.
        conv_cfg: Convolution layers; None for Conv2d.
        act_cfg: Activations of the hidden layer and of the weights; one dict for both.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, channels, H, W) to the same.

    Example:
        >>> import torch
        >>> SELayer(32, ratio=4)(torch.rand(2, 32, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        squeeze_channels: int | None = None,
        ratio: int = 16,
        divisor: int = 8,
        bias: bool | str = 'auto',
        conv_cfg: ConfigType | None = None,
        act_cfg: ConfigType | Sequence[ConfigType] = (dict(type='ReLU'), dict(type='Sigmoid')),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(SELayer, locals(), act_cfg=_ONE_OR_TWO, bias=AUTO_FLAG)
        super().__init__(init_cfg)
        acts = (act_cfg, act_cfg) if isinstance(act_cfg, dict) else tuple(act_cfg)
        for cfg in acts:
            check('act_cfg', cfg, ACTIVATION, optional=True)
        if squeeze_channels is None:
            squeeze_channels = make_divisible(channels // ratio, divisor)
        layers = dict(bias=bias, conv_cfg=conv_cfg)
        self.conv1 = ConvModule(channels, squeeze_channels, 1, act_cfg=acts[0], **layers)
        self.conv2 = ConvModule(squeeze_channels, channels, 1, act_cfg=acts[1], **layers)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs the channels of ``x``."""
        means = x.mean((2, 3), keepdim=True)
        return x * self.conv2(self.conv1(means))
