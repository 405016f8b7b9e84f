"""How nets of depthwise convolutions start."""

from __future__ import annotations

from mmblocks.utils.types import ConfigType

# He's initialisation by the inputs of an output: by its outputs, which is the default elsewhere, a
# depthwise convolution counts those of all channels and starts with weights near zero.
DEPTHWISE_INIT_CFG: list[ConfigType] = [
    dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]
