"""Convolution layers, as a config names them."""

from __future__ import annotations

from typing import Any

from mmcv.cnn import build_conv_layer
from torch import nn

from mmblocks.utils.checks import shown
from mmblocks.utils.errors import first_line
from mmblocks.utils.lookup import find_layer
from mmblocks.utils.types import ConfigType


def build_conv(
    conv_cfg: ConfigType | None, *args: Any, argument: str = 'conv_cfg', **kwargs: Any
) -> nn.Module:
    """Builds a convolution layer.

    Args:
        conv_cfg: The config; None for Conv2d.
        *args: Arguments of the layer.
        argument: Name of the config's argument, for the error message.
        **kwargs: Keyword arguments of the layer.

    Returns:
        The layer; of a deformable convolution, the form that computes its own offsets.

    Raises:
        ValueError: The layer cannot be built.

    Example:
        >>> build_conv(None, 3, 8, 3)
        Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """
    if conv_cfg is None:
        return nn.Conv2d(*args, **kwargs)
    cfg = dict(conv_cfg, type=find_layer(conv_cfg['type'], argument))
    try:
        return build_conv_layer(cfg, *args, **kwargs)
    except Exception as error:
        raise ValueError(
            f'{argument}={shown(conv_cfg)}: cannot be built here: {first_line(error)}'
        ) from error
