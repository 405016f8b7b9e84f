"""How nets start that do not start by BaseBackbone's default, and OpenMMLab's ``pretrained``."""

from __future__ import annotations

import warnings

from mmblocks.utils.types import ConfigType, MultiConfig

# Plain nets, by what comes in: without norms nothing else keeps the signal's size.
PLAIN_INIT_CFG: list[ConfigType] = [
    dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]
# He's initialisation by the inputs of an output: by its outputs, which is the default elsewhere, a
# depthwise convolution counts those of all channels and starts with weights near zero.
DEPTHWISE_INIT_CFG: list[ConfigType] = [
    dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


def resolve_init_cfg(init_cfg: MultiConfig | None, pretrained: str | None) -> MultiConfig | None:
    """Returns the initialisation config that either of the two arguments asks for.

    Args:
        init_cfg: MMEngine's initialisation config.
        pretrained: A checkpoint to load, as path or URL.

    Returns:
        The config, or None if neither was given.

    Raises:
        TypeError: ``pretrained`` is neither a string nor None.
        ValueError: Both are given.

    Example:
        >>> resolve_init_cfg(dict(type='Kaiming', layer='Conv2d'), None)
        {'type': 'Kaiming', 'layer': 'Conv2d'}
    """
    if pretrained is None:
        return init_cfg
    if not isinstance(pretrained, str):
        raise TypeError(f'pretrained={pretrained!r}: must be a path or URL, or None')
    if init_cfg is not None:
        raise ValueError('init_cfg and pretrained cannot both be given; pretrained is deprecated')
    warnings.warn(
        "pretrained is deprecated; use init_cfg=dict(type='Pretrained', checkpoint=...)",
        DeprecationWarning,
        # The line that builds the net.
        stacklevel=3,
    )
    return dict(type='Pretrained', checkpoint=pretrained)
