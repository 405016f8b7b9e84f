"""What deformable convolutions share: checks, parameters and the choice between backends."""

from __future__ import annotations

import functools
import math
from importlib import import_module
from types import ModuleType
from typing import ClassVar

import torch
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from mmblocks.ops.deform_conv import deform_conv
from mmblocks.ops.finder import runs_compiled_ops
from mmblocks.utils.accepted import AUTO_FLAG, PADDING, PAIR
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.tracing import is_tracing

BACKENDS = ('auto', 'mmcv', 'torch')


class DeformConvBase(nn.Module):
    """Arguments, parameters and the PyTorch form of a deformable convolution.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel in pixels, one number or (height, width).
        stride: Step of the kernel in pixels, one number or (vertical, horizontal).
        padding: Zeros around the map in pixels, likewise.
        dilation: Distance of the kernel's points in pixels, likewise.
        groups: Groups of channels that are convolved apart.
        deform_groups: Groups of input channels that have their own offsets.
        bias: Whether there is a bias.
        backend: 'auto', 'mmcv' or 'torch'.
    """

    # Channels per kernel point of the layer's own ``conv_offset``; 0 if it has none.
    offset_channels: ClassVar[int] = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int],
        padding: int | tuple[int, int],
        dilation: int | tuple[int, int],
        groups: int,
        deform_groups: int,
        bias: bool | str,
        backend: str,
    ) -> None:
        check_arguments(
            DeformConvBase,
            locals(),
            kernel_size=PAIR,
            stride=PAIR,
            padding=PADDING,
            dilation=PAIR,
            bias=AUTO_FLAG,
        )
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple(to_2tuple(kernel_size))
        self.stride = tuple(to_2tuple(stride))
        self.padding = tuple(to_2tuple(padding))
        self.dilation = tuple(to_2tuple(dilation))
        self.groups = groups
        self.deform_groups = deform_groups
        for name, divisor in (
            ('in_channels', 'groups'),
            ('in_channels', 'deform_groups'),
            ('out_channels', 'groups'),
        ):
            if getattr(self, name) % getattr(self, divisor):
                raise ValueError(
                    f'{name}={getattr(self, name)}: must be divisible by '
                    f'{divisor}={getattr(self, divisor)}'
                )
        if backend not in BACKENDS:
            raise ValueError(f'backend={backend!r}: must be one of {", ".join(BACKENDS)}')
        if backend == 'mmcv':
            compiled_ops()
        self.backend = backend
        self.num_points = math.prod(self.kernel_size)
        # ConvModule asks a convolution for these.
        self.transposed = False
        self.output_padding = (0,)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        if self.offset_channels:
            self.conv_offset = nn.Conv2d(
                in_channels,
                deform_groups * self.offset_channels * self.num_points,
                self.kernel_size,
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
            )
        self.init_weights()

    def init_weights(self) -> None:
        """Initialises as mmcv does; the layer's own offsets start at 0, its masks at one half."""
        self._draw_weight()
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.offset_channels:
            for parameter in self.conv_offset.parameters():
                nn.init.zeros_(parameter)

    def _draw_weight(self) -> None:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Returns the arguments, as nn.Conv2d shows them."""
        names = ('stride', 'padding', 'dilation', 'groups', 'deform_groups', 'backend')
        shown = ', '.join(f'{name}={getattr(self, name)!r}' for name in names)
        return (
            f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, {shown}, '
            f'bias={self.bias is not None}'
        )

    def _check_inputs(self, x: Tensor, **maps: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f'x has shape {tuple(x.shape)}: must be (N, {self.in_channels}, H, W)')
        rows, columns = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in zip(
                x.shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True
            )
        )
        if rows < 1 or columns < 1:
            raise ValueError(
                f'x has shape {tuple(x.shape)}: too small for a kernel of {self.kernel_size} with '
                f'padding={self.padding} and dilation={self.dilation}'
            )
        for name, per_point in (('offset', 2), ('mask', 1)):
            expected = (x.shape[0], per_point * self.deform_groups * self.num_points, rows, columns)
            if name in maps and tuple(maps[name].shape) != expected:
                raise ValueError(
                    f'{name} has shape {tuple(maps[name].shape)}: must be {expected} for x of '
                    f'shape {tuple(x.shape)}'
                )

    def _runs_mmcv(self, x: Tensor, offset: Tensor) -> bool:
        if self.backend == 'torch' or (self.backend == 'auto' and not x.is_cuda):
            return False
        if x.shape[0] == 0:  # mmcv divides by the batch size
            return False
        return self.backend == 'mmcv' or (
            not is_tracing()
            and offset.dtype != torch.bfloat16  # which mmcv's kernels lack
            and x.shape[2] >= self.kernel_size[0]  # and without a mask it refuses smaller maps
            and x.shape[3] >= self.kernel_size[1]
            and _has_cuda_ops()
        )

    def _convolve(self, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
        return deform_conv(
            x,
            offset,
            mask,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
        )


@functools.cache
def compiled_ops() -> ModuleType:
    """Imports mmcv's compiled ops.

    Raises:
        ImportError: They are not there.
    """
    try:
        ops, problem = import_module('mmcv.ops'), 'mmcv runs on PyTorch forms'
        if runs_compiled_ops():
            return ops
    except ImportError as error:
        problem = str(error)
    raise ImportError(
        f"backend='mmcv': mmcv's compiled ops are not there ({problem}); backend='auto' or 'torch' "
        'needs none'
    )


@functools.cache
def _has_cuda_ops() -> bool:
    try:
        return compiled_ops().get_compiling_cuda_version() != 'not available'
    except ImportError:
        return False
