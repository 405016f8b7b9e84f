"""A convolution and what follows it, for nets whose state-dict keys name each of them alone."""

from __future__ import annotations

from mmcv.cnn import build_activation_layer
from torch import nn

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.utils.types import ConfigType


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    conv_cfg: ConfigType | None,
    norm_cfg: ConfigType | None,
) -> tuple[nn.Module, nn.Module]:
    """Returns a convolution that pads to the full size and its norm.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel size in pixels, odd.
        stride: Stride of the convolution.
        conv_cfg: Convolution layer; None for Conv2d.
        norm_cfg: Norm layer; None for an identity, behind a convolution with bias.

    Example:
        >>> conv_norm(3, 8, 3, conv_cfg=None, norm_cfg=None)[1]
        Identity()
    """
    conv = build_conv(
        conv_cfg,
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        bias=norm_cfg is None,
    )
    return conv, build_norm(norm_cfg, out_channels)[1]


def conv_norm_act(
    names: tuple[str, str, str],
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    conv_cfg: ConfigType | None,
    norm_cfg: ConfigType | None,
    act_cfg: ConfigType,
) -> dict[str, nn.Module]:
    """Returns a convolution, its norm and its activation by their names.

    Args:
        names: Name of each of the three.
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel size in pixels, odd.
        stride: Stride of the convolution.
        conv_cfg: Convolution layer; None for Conv2d.
        norm_cfg: Norm layer; None for an identity, behind a convolution with bias.
        act_cfg: Activation layer.

    Example:
        >>> layers = dict(conv_cfg=None, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
        >>> list(conv_norm_act(('conv1', 'bn1', 'act1'), 3, 8, 3, stride=2, **layers))
        ['conv1', 'bn1', 'act1']
    """
    conv, norm = conv_norm(
        in_channels, out_channels, kernel_size, stride, conv_cfg=conv_cfg, norm_cfg=norm_cfg
    )
    return dict(zip(names, (conv, norm, build_activation_layer(act_cfg)), strict=True))
