"""AKConv: a convolution with any number of points, which looks where it finds something."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule, Sequential
from mmengine.registry import MODELS
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from mmblocks.layers.norm import build_norm
from mmblocks.layers.point_conv import convolve_points
from mmblocks.utils.accepted import PAIR, is_count
from mmblocks.utils.checks import check, check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig


@MODELS.register_module()
class AKConv(BaseModule):
    """Convolution over any number of sampling points, moved by offsets computed from the map.

    From `AKConv <https://arxiv.org/abs/2311.11587>`_. The points start out as rows of
    ``round(sqrt(num_points))`` neighbours, the last row cut short, with the output pixel's own
    place at the upper left. A 3x3 convolution that starts at zero computes an offset in pixels for
    each point of each output pixel; the map is read there bilinearly, beyond its border as its
    outermost pixels. The paper's layer ends in a norm and an activation:
    ``norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU')``. Without them, as is the default, it
    takes the place of a bare convolution: ``conv_cfg=dict(type='mmblocks.AKConv', num_points=5)``
    in any net, which passes ``kernel_size``, ``padding``, ``dilation`` and ``groups`` too.

    Keys are the published code's: ``p_conv`` (rows of all points, then columns), ``conv.0`` with
    a kernel of ``num_points`` x 1, and ``conv.1`` for the norm.

    Args:
        in_channels: Input channels.
        out_channels: Output channels; ``in_channels`` if left out.
        kernel_size: Kernel of the convolution that this layer replaces, which ``padding`` must
            fit; it changes nothing else. Given without ``num_points`` and ``padding`` it is the
            number of points: ``AKConv(64, 64, 9)`` has nine.
        stride: Stride, one number or one for rows and one for columns.
        bias: Whether the convolution over the points has a bias.
        norm_cfg: Norm layer; None for none.
        act_cfg: Activation; None for none.
        init_cfg: MMEngine's initialisation config. Offsets start at zero whatever it says.
        num_points: Number of sampling points, 1 or more; 5 if left out.
        padding: Padding of the convolution that this layer replaces: half its odd kernel, as
            this layer's maps have ``ceil(size / stride)`` pixels.
        dilation: Must be 1: the offsets decide how far the points lie apart.
        groups: Groups of channels whose samples are convolved apart; offsets are for all of them.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Raises:
        ValueError: ``num_points`` or ``stride`` is no whole number of 1 or more, ``dilation`` is
            not 1, ``groups`` does not divide the channels, or the output of the convolution to
            replace has another size.

    Example:
        >>> AKConv(16, 24, num_points=5, stride=2)(torch.rand(1, 16, 9, 8)).shape
        torch.Size([1, 24, 5, 4])
    """

    # What mmcv's ConvModule asks of a convolution besides its channels, kernel and stride.
    padding = output_padding = (0, 0)
    dilation = (1, 1)
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_size: int | tuple[int, int] | None = None,
        stride: int | tuple[int, int] = 1,
        bias: bool = False,
        norm_cfg: ConfigType | None = None,
        act_cfg: ConfigType | None = None,
        init_cfg: MultiConfig | None = None,
        *,
        num_points: int | None = None,
        padding: int | tuple[int, int] | None = None,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
    ) -> None:
        check_arguments(AKConv, locals(), kernel_size=None)
        super().__init__(init_cfg)
        points: int | tuple[int, int] | None = num_points
        if points is None and padding is None:
            points, kernel_size = kernel_size, None
        if points is None:
            points = 5
        if not is_count(points):
            raise ValueError(
                f'num_points={points!r} (or kernel_size alone): must be an int of at least 1'
            )
        check('stride', stride, PAIR)
        check('dilation', dilation, PAIR)
        if tuple(to_2tuple(dilation)) != (1, 1):
            raise ValueError(f'dilation={dilation!r}: AKConv takes 1 only')
        if not _keeps_size(kernel_size, padding):
            raise ValueError(
                f'kernel_size={kernel_size!r}, padding={padding!r}: AKConv gives maps of '
                'ceil(size / stride) pixels, so it can only replace convolutions with an odd '
                'kernel_size and padding=kernel_size // 2'
            )

        self.in_channels = in_channels
        self.out_channels = in_channels if out_channels is None else out_channels
        if not is_count(groups) or self.in_channels % groups or self.out_channels % groups:
            raise ValueError(
                f'groups={groups!r}: must divide in_channels={self.in_channels} and '
                f'out_channels={self.out_channels}'
            )
        self.num_points = points
        self.groups = groups
        self.kernel_size = (points, 1)
        self.stride = tuple(to_2tuple(stride))
        layers: list[nn.Module] = [
            nn.Conv2d(
                in_channels,
                self.out_channels,
                self.kernel_size,
                stride=self.kernel_size,
                groups=groups,
                bias=bias,
            )
        ]
        if norm_cfg is not None:
            layers.append(build_norm(norm_cfg, self.out_channels)[1])
        if act_cfg is not None:
            layers.append(build_activation_layer(act_cfg))
        self.conv = Sequential(*layers)
        self.p_conv = _OffsetConv(in_channels, 2 * points, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Samples the map at the points and convolves what was found."""
        offsets = self.p_conv(x)
        # A half's steps are too coarse for places in a large map.
        dtype = torch.promote_types(x.dtype, torch.float32)
        rows, columns = offsets.to(dtype).unflatten(1, (2, self.num_points)).unbind(1)
        points = torch.arange(self.num_points, device=x.device).view(-1, 1, 1)
        points_per_row = round(math.sqrt(self.num_points))
        down = torch.arange(offsets.shape[2], device=x.device).view(-1, 1) * self.stride[0]
        right = torch.arange(offsets.shape[3], device=x.device) * self.stride[1]
        rows = rows + (points // points_per_row + down)
        columns = columns + (points % points_per_row + right)
        first, *layers = self.conv
        conv = cast(nn.Conv2d, first)
        out = convolve_points(x, rows, columns, conv.weight.squeeze(3), conv.bias)
        for layer in layers:
            out = layer(out)
        return out


class _OffsetConv(nn.Module):
    """3x3 convolution that starts at zero; no Conv2d, so that no ``init_cfg`` draws its weights."""

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def extra_repr(self) -> str:
        return f'{self.weight.shape[1]}, {self.weight.shape[0]}, stride={self.stride}'

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, padding=1)


def _keeps_size(
    kernel_size: int | tuple[int, int] | None, padding: int | tuple[int, int] | None
) -> bool:
    """Whether a convolution's maps have ``ceil(size / stride)`` pixels for every size."""
    if kernel_size is None:
        return padding is None
    pairs = zip(to_2tuple(kernel_size), to_2tuple(padding or 0), strict=True)
    return not isinstance(padding, str) and all(k == 2 * p + 1 for k, p in pairs)
