"""The deprecated argument ``pretrained`` of OpenMMLab's older backbones."""

from __future__ import annotations

import warnings

from mmblocks.utils.types import MultiConfig


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
