"""ECA: channel attention with a handful of weights."""

from __future__ import annotations

import math

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.utils.accepted import Accepted, is_number
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


@MODELS.register_module()
class ECA(BaseModule):
    """Channels weighted by a small convolution along the channels' means.

    From `ECA-Net <https://arxiv.org/abs/1910.03151>`_; keys are those of timm's EcaModule. As a
    plugin: ``plugins=[dict(cfg=dict(type='mmblocks.ECA'), position='after_conv2')]``.

    Args:
        in_channels: Channels of the map.
        kernel_size: Neighbouring channels from which the weight of one is computed, an odd
            number. If left out, ``(log2(in_channels) + beta) / gamma``, rounded down and if even
            one more, but 3 at least: with the defaults 3 up to 127 channels, 5 up to 2047.
        gamma: See ``kernel_size``.
        beta: See ``kernel_size``.
        gate_cfg: Activation that makes the weights, mostly a sigmoid.
        init_cfg: MMEngine's initialisation config.

    Shape:
        (N, in_channels, H, W) to the same.

    Raises:
        ValueError: ``kernel_size`` is not odd, or ``in_channels`` or ``gamma`` not positive.

    Example:
        >>> import torch
        >>> ECA(256)(torch.rand(2, 256, 8, 8)).shape, ECA(256).conv.kernel_size
        (torch.Size([2, 256, 8, 8]), (5,))
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int | None = None,
        gamma: float = 2,
        beta: float = 1,
        gate_cfg: ConfigType = dict(type='Sigmoid'),
        init_cfg: MultiConfig | None = None,
    ) -> None:
        check_arguments(ECA, locals(), beta=Accepted(is_number, 'a number'))
        super().__init__(init_cfg)
        if kernel_size is None:
            reach = int(abs(math.log2(in_channels) + beta) / gamma)
            kernel_size = max(reach + 1 - reach % 2, 3)
        self.in_channels = in_channels
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.gate = build_activation_layer(gate_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Weighs the channels of ``x``."""
        weights = self.gate(self.conv(x.mean((2, 3)).unsqueeze(1)))
        return x * weights.squeeze(1)[..., None, None]
