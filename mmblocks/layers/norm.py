"""Norm layers, which a config can also leave out."""

from __future__ import annotations

from mmcv.cnn import build_norm_layer
from torch import nn

from mmblocks.utils.types import ConfigType


def build_norm(
    norm_cfg: ConfigType | None, channels: int, postfix: int | str = ''
) -> tuple[str, nn.Module]:
    """Builds a norm layer, or an identity in its place.

    Args:
        norm_cfg: The config; None for no norm. A convolution before it needs a bias then.
        channels: Channels of the map.
        postfix: What the layer's name ends in.

    Returns:
        The layer's name, as OpenMMLab's abbreviation, and the layer.

    Raises:
        ValueError: The norm's groups do not divide the channels.

    Example:
        >>> build_norm(dict(type='BN'), 8, postfix=1)[0]
        'bn1'
        >>> build_norm(None, 8, postfix=1)
        ('norm1', Identity())
    """
    if norm_cfg is None:
        return f'norm{postfix}', nn.Identity()
    check_groups_of_norm(norm_cfg, channels)
    return build_norm_layer(norm_cfg, channels, postfix)


def add_norm(module: nn.Module, norm_cfg: ConfigType | None, channels: int, postfix: int) -> str:
    """Adds a norm layer, or an identity in its place, to a module.

    Args:
        module: Gets the layer as a submodule.
        norm_cfg: The config; None for no norm.
        channels: Channels of the map.
        postfix: Number at the end of the layer's name.

    Returns:
        The submodule's name.

    Example:
        >>> block = nn.Module()
        >>> add_norm(block, dict(type='GN', num_groups=2), 8, postfix=1)
        'gn1'
        >>> block.gn1.num_groups
        2
    """
    name, norm = build_norm(norm_cfg, channels, postfix)
    module.add_module(name, norm)
    return name


def check_groups_of_norm(norm_cfg: ConfigType | None, channels: int) -> None:
    """Raises unless the groups of a GroupNorm divide the channels.

    Args:
        norm_cfg: The config; None for no norm.
        channels: Channels of the map.

    Raises:
        ValueError: They do not.
    """
    groups = (norm_cfg or {}).get('num_groups')
    if groups is not None and channels % groups:
        raise ValueError(
            f'norm_cfg={norm_cfg}: num_groups={groups} must divide the channels of every norm, '
            f'and one has {channels}'
        )
