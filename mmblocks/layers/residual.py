"""The residual blocks of ResNet and its relatives."""

from __future__ import annotations

from typing import ClassVar

from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import add_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.se_layer import SELayer
from mmblocks.layers.shortcut import add_shortcut
from mmblocks.utils.accepted import LAYER, MODULE
from mmblocks.utils.checks import check_arguments, check_choice
from mmblocks.utils.types import ConfigType


class BasicBlock(BaseModule):
    """Two 3x3 convolutions beside a shortcut, from `ResNet <https://arxiv.org/abs/1512.03385>`_.

    Args:
        inplanes: Input channels.
        planes: Output channels.
        stride: Stride of the first convolution.
        dilation: Dilation of the first convolution.
        downsample: Module of the shortcut; None for the identity.
        style: 'pytorch' or 'caffe', which differ in the Bottleneck only.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        dcn: Deformable convolution in place of the second one: ``type`` and arguments.
        zero_init_residual: Start with the last norm's weight at 0, so with an identity block;
            without norms with the last convolution's.
        width: Not used; the Bottleneck's.
        groups: Not used; the Bottleneck's.
        se_ratio: Squeeze-and-excitation before the sum, with this many channels per hidden one;
            None for none.
        drop_path_rate: Share of the samples that skip the block in training, below 1.

    Shape:
        (N, inplanes, H, W) to (N, planes, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> block = BasicBlock(8, 8)
        >>> block(torch.rand(1, 8, 16, 16)).shape
        torch.Size([1, 8, 16, 16])
    """

    expansion: ClassVar[int] = 1
    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'after_conv1',
        'after_conv2': 'after_conv2',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        dcn: ConfigType | None = None,
        zero_init_residual: bool = False,
        width: int | None = None,
        groups: int = 1,
        se_ratio: int | None = None,
        drop_path_rate: float = 0.0,
    ) -> None:
        check_choice('style', style, ('pytorch', 'caffe'))
        check_arguments(BasicBlock, locals(), dcn=LAYER, downsample=MODULE)
        super().__init__()
        bias = norm_cfg is None
        dcn = _dcn_at_stride(dcn, 1)
        self.conv1 = build_conv(
            conv_cfg,
            inplanes,
            planes,
            kernel_size=3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            bias=bias,
        )
        self.norm1_name = add_norm(self, norm_cfg, planes, postfix=1)
        self.after_conv1 = nn.Identity()
        self.conv2 = build_conv(
            dcn or conv_cfg,
            planes,
            planes,
            kernel_size=3,
            padding=1,
            bias=bias,
            argument='dcn' if dcn else 'conv_cfg',
        )
        self.dcn_conv = 'conv2' if dcn else None
        self.norm2_name = add_norm(self, norm_cfg, planes, postfix=2)
        self.after_conv2 = nn.Identity()
        self.with_se = bool(se_ratio)
        if se_ratio:  # else the name is free for a plugin
            self.se_layer = SELayer(planes, ratio=se_ratio)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()
        if zero_init_residual:
            last = 'conv2' if norm_cfg is None else self.norm2_name
            self.init_cfg = dict(type='Constant', val=0, override=dict(name=last))

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        out = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        out = self.after_conv1(out)

        norm2 = getattr(self, self.norm2_name)
        out = self.after_conv2(norm2(self.conv2(out)))
        if self.with_se:
            out = self.se_layer(out)
        out = self.drop_path(out)

        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(add_shortcut(out, shortcut, norm2, self.after_conv2))


class Bottleneck(BaseModule):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut.

    From `ResNet <https://arxiv.org/abs/1512.03385>`_.

    Args:
        inplanes: Input channels.
        planes: Base channels; the output has ``planes * expansion``.
        stride: Stride of the block.
        dilation: Dilation of the 3x3 convolution.
        downsample: Module of the shortcut; None for the identity.
        style: 'pytorch': the 3x3 convolution has the stride; 'caffe': the first 1x1.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, the convolutions then have a bias.
        dcn: Deformable convolution in place of the 3x3 one: ``type`` and arguments. With
            ``fallback_on_stride=True`` one with a stride > 1 stays a plain convolution.
        zero_init_residual: Start with the last norm's weight at 0, so with an identity block;
            without norms with the last convolution's.
        width: Channels of the inner convolutions; ``planes`` if left out.
        groups: Groups of the 3x3 convolution, as in ResNeXt.
        se_ratio: Squeeze-and-excitation before the sum, with this many channels per hidden one;
            None for none.
        drop_path_rate: Share of the samples that skip the block in training, below 1.

    Shape:
        (N, inplanes, H, W) to (N, planes * expansion, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> block = Bottleneck(32, 8, style='caffe')
        >>> block(torch.rand(1, 32, 16, 16)).shape
        torch.Size([1, 32, 16, 16])
    """

    expansion: ClassVar[int] = 4
    plugin_positions: ClassVar[dict[str, str]] = {
        'after_conv1': 'after_conv1',
        'after_conv2': 'after_conv2',
        'after_conv3': 'after_conv3',
        **AROUND_BLOCK,
    }

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN'),
        dcn: ConfigType | None = None,
        zero_init_residual: bool = False,
        width: int | None = None,
        groups: int = 1,
        se_ratio: int | None = None,
        drop_path_rate: float = 0.0,
    ) -> None:
        check_choice('style', style, ('pytorch', 'caffe'))
        check_arguments(Bottleneck, locals(), dcn=LAYER, downsample=MODULE)
        super().__init__()
        bias = norm_cfg is None
        width = width or planes
        out_channels = planes * self.expansion
        stride1, stride2 = (stride, 1) if style == 'caffe' else (1, stride)
        dcn = _dcn_at_stride(dcn, stride2)
        self.conv1 = build_conv(conv_cfg, inplanes, width, kernel_size=1, stride=stride1, bias=bias)
        self.norm1_name = add_norm(self, norm_cfg, width, postfix=1)
        self.after_conv1 = nn.Identity()
        self.conv2 = build_conv(
            dcn or conv_cfg,
            width,
            width,
            kernel_size=3,
            stride=stride2,
            padding=dilation,
            dilation=dilation,
            groups=groups,
            bias=bias,
            argument='dcn' if dcn else 'conv_cfg',
        )
        self.dcn_conv = 'conv2' if dcn else None
        self.norm2_name = add_norm(self, norm_cfg, width, postfix=2)
        self.after_conv2 = nn.Identity()
        self.conv3 = build_conv(conv_cfg, width, out_channels, kernel_size=1, bias=bias)
        self.norm3_name = add_norm(self, norm_cfg, out_channels, postfix=3)
        self.after_conv3 = nn.Identity()
        self.with_se = bool(se_ratio)
        if se_ratio:  # else the name is free for a plugin
            self.se_layer = SELayer(out_channels, ratio=se_ratio)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()
        if zero_init_residual:
            last = 'conv3' if norm_cfg is None else self.norm3_name
            self.init_cfg = dict(type='Constant', val=0, override=dict(name=last))

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        out = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        out = self.after_conv1(out)

        out = self.relu(getattr(self, self.norm2_name)(self.conv2(out)))
        out = self.after_conv2(out)

        norm3 = getattr(self, self.norm3_name)
        out = self.after_conv3(norm3(self.conv3(out)))
        if self.with_se:
            out = self.se_layer(out)
        out = self.drop_path(out)

        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(add_shortcut(out, shortcut, norm3, self.after_conv3))


def _dcn_at_stride(dcn: ConfigType | None, stride: int) -> ConfigType | None:
    """Returns the deformable convolution's config, None where the convolution stays plain."""
    if dcn is None:
        return None
    dcn = dict(dcn)
    return None if dcn.pop('fallback_on_stride', False) and stride > 1 else dcn
