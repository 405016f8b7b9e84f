"""The residual blocks of ResNet and its relatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.layers.positions import AROUND_BLOCK
from mmblocks.layers.se_layer import SELayer
from mmblocks.utils.checks import LAYER, MODULE, check_arguments, check_choice


class ConvSpec(NamedTuple):
    """One convolution of a residual block."""

    kernel_size: int
    in_channels: int
    out_channels: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    deformable: bool = False


class ResidualBlock(BaseModule):
    """Convolutions with norm and ReLU beside a shortcut; concrete blocks say which.

    Args:
        inplanes: Input channels.
        planes: Base channels; the output has ``planes * expansion``.
        stride: Stride of the block in pixels of its input.
        dilation: Dilation of the 3x3 convolutions.
        downsample: Module of the shortcut; None for the identity.
        style: 'pytorch' or 'caffe': whether a Bottleneck's 3x3 or its first 1x1 has the stride.
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm layers; None for none, behind convolutions with bias.
        dcn: Deformable convolution in place of the block's last 3x3: ``type`` and arguments.
            With ``fallback_on_stride=True`` a 3x3 with stride > 1 stays a plain convolution.
        zero_init_residual: Start with the last norm's weight at 0, so with an identity block;
            without norms with the last convolution's.
        width: Channels of the inner convolutions of a Bottleneck; ``planes`` if left out.
        groups: Groups of a Bottleneck's 3x3, as in ResNeXt.
        se_ratio: Squeeze-and-excitation in front of the sum, with this many channels per hidden
            one; None for none.
        drop_path_rate: Share of the samples that skip the block in training, below 1.

    Shape:
        (N, inplanes, H, W) to (N, planes * expansion, ceil(H / stride), ceil(W / stride)).
    """

    expansion: ClassVar[int] = 1
    plugin_places: ClassVar[dict[str, str]] = AROUND_BLOCK

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),
        dcn: dict | None = None,
        zero_init_residual: bool = False,
        width: int | None = None,
        groups: int = 1,
        se_ratio: int | None = None,
        drop_path_rate: float = 0.0,
    ) -> None:
        check_choice('style', style, ('pytorch', 'caffe'))
        check_arguments(ResidualBlock, locals(), dcn=LAYER, downsample=MODULE)
        super().__init__()
        # (conv, norm, plugins behind them), by name, since fusing and converting replace modules.
        self._steps: list[tuple[str, str, list[str]]] = []
        specs = self.conv_specs(inplanes, planes, stride, dilation, style, width or planes, groups)
        for i, spec in enumerate(specs, 1):
            norm_name, norm = build_norm(norm_cfg, spec.out_channels, postfix=i)
            self.add_module(f'conv{i}', _build_conv(spec, conv_cfg, dcn, norm_cfg is None))
            self.add_module(norm_name, norm)
            self._steps.append((f'conv{i}', norm_name, []))
        self._has_se = bool(se_ratio)
        if se_ratio:  # else the name is free for a plugin
            self.se_layer = SELayer(specs[-1].out_channels, ratio=se_ratio)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()
        if zero_init_residual:
            last = f'conv{len(specs)}' if norm_cfg is None else norm_name
            self.init_cfg = dict(type='Constant', val=0, override=dict(name=last))

    def run_behind(self, position: str, names: Sequence[str]) -> None:
        """Runs submodules behind a convolution with its norm and activation.

        Args:
            position: Such as 'after_conv2'.
            names: Names of the submodules, in order.
        """
        _, _, behind = self._steps[int(position.removeprefix('after_conv')) - 1]
        behind.extend(names)

    def conv_specs(
        self,
        inplanes: int,
        planes: int,
        stride: int,
        dilation: int,
        style: str,
        width: int,
        groups: int,
    ) -> list[ConvSpec]:
        """Returns the block's convolutions, in order."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Runs the convolutions and adds the shortcut."""
        out = self.convolve(x)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.drop_path(out) + shortcut)

    def convolve(self, x: Tensor) -> Tensor:
        """Returns what is added to the shortcut."""
        out = x
        last = len(self._steps) - 1
        for i, (conv, norm, plugins) in enumerate(self._steps):
            out = getattr(self, norm)(getattr(self, conv)(out))
            if i < last:
                out = self.relu(out)
            for plugin in plugins:
                out = getattr(self, plugin)(out)
        if self._has_se:
            out = self.se_layer(out)
        return out


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, from `ResNet <https://arxiv.org/abs/1512.03385>`_.

    The stride is on the first convolution in either style; ``dcn`` replaces the second.

    Example:
        >>> import torch
        >>> block = BasicBlock(8, 8)
        >>> block(torch.rand(1, 8, 16, 16)).shape
        torch.Size([1, 8, 16, 16])
    """

    expansion = 1
    plugin_places: ClassVar[dict[str, str]] = {
        'after_conv1': 'conv1',
        'after_conv2': 'conv2',
        **AROUND_BLOCK,
    }

    def conv_specs(
        self,
        inplanes: int,
        planes: int,
        stride: int,
        dilation: int,
        style: str,
        width: int,
        groups: int,
    ) -> list[ConvSpec]:
        """Returns the block's convolutions, in order."""
        return [
            ConvSpec(3, inplanes, planes, stride, dilation),
            ConvSpec(3, planes, planes, 1, 1, deformable=True),
        ]


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions, from `ResNet <https://arxiv.org/abs/1512.03385>`_.

    Example:
        >>> import torch
        >>> block = Bottleneck(32, 8, style='caffe')
        >>> block(torch.rand(1, 32, 16, 16)).shape
        torch.Size([1, 32, 16, 16])
    """

    expansion = 4
    plugin_places: ClassVar[dict[str, str]] = {
        'after_conv1': 'conv1',
        'after_conv2': 'conv2',
        'after_conv3': 'conv3',
        **AROUND_BLOCK,
    }

    def conv_specs(
        self,
        inplanes: int,
        planes: int,
        stride: int,
        dilation: int,
        style: str,
        width: int,
        groups: int,
    ) -> list[ConvSpec]:
        """Returns the block's convolutions, in order."""
        stride1, stride3 = (stride, 1) if style == 'caffe' else (1, stride)
        return [
            ConvSpec(1, inplanes, width, stride1),
            ConvSpec(3, width, width, stride3, dilation, groups, deformable=True),
            ConvSpec(1, width, planes * self.expansion),
        ]


def _build_conv(spec: ConvSpec, conv_cfg: dict | None, dcn: dict | None, bias: bool) -> nn.Module:
    cfg = conv_cfg
    is_dcn = False
    if spec.deformable and dcn is not None:
        dcn = dict(dcn)
        if not (dcn.pop('fallback_on_stride', False) and spec.stride > 1):
            cfg = dcn
            is_dcn = True
    conv = build_conv(
        cfg,
        spec.in_channels,
        spec.out_channels,
        kernel_size=spec.kernel_size,
        stride=spec.stride,
        padding=spec.dilation * (spec.kernel_size // 2),
        dilation=spec.dilation,
        groups=spec.groups,
        bias=bias,
        argument='dcn' if is_dcn else 'conv_cfg',
    )
    # A stitched layer of its own: drawn as one, and left whole by conv_cfg.
    conv.is_dcn = is_dcn
    return conv
