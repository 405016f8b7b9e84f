"""Deformable convolutions that need no compiled ops, and use mmcv's where they serve."""

from __future__ import annotations

import math

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.layers.deform_base import DeformConvBase, compiled_ops
from mmblocks.utils.accepted import COUNT
from mmblocks.utils.checks import check


@MODELS.register_module()
class DeformConv2d(DeformConvBase):
    """Convolution whose kernel points are displaced by given offsets.

    From `Deformable ConvNets <https://arxiv.org/abs/1703.06211>`_; arguments and keys are those
    of mmcv's ``DeformConv2d``, results too, and any device, dtype and batch size will do.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel in pixels, one number or (height, width).
        stride: Step of the kernel in pixels, one number or (vertical, horizontal).
        padding: Zeros around the map in pixels, likewise.
        dilation: Distance of the kernel's points in pixels, likewise.
        groups: Groups of channels that are convolved apart.
        deform_groups: Groups of input channels that have their own offsets.
        bias: Whether there is a bias, which mmcv's has not.
        im2col_step: Images that mmcv's op processes at a time, at most; no other backend uses it.
        backend: 'torch' for plain PyTorch, 'mmcv' for its compiled op; 'auto' uses mmcv's on
            CUDA, where it is there and can do the job, and plain PyTorch elsewhere.

    Shape:
        (N, in_channels, H, W) and (N, deform_groups * 2 * points, H', W') to
        (N, out_channels, H', W'), with H' and W' those of a plain convolution. Offsets are in
        pixels, (y, x) point by point, row by row.

    Raises:
        ValueError: An argument or the shape of an input does not fit.
        ImportError: ``backend='mmcv'``, and mmcv has no compiled ops.

    Example:
        >>> import torch
        >>> conv = DeformConv2d(8, 4, 3, padding=1)
        >>> conv(torch.rand(1, 8, 5, 6), torch.zeros(1, 18, 5, 6)).shape
        torch.Size([1, 4, 5, 6])
    """

    @classmethod
    def as_conv(cls) -> type[DeformConv2d]:
        """Returns the layer that computes its own offsets, which is what a config means."""
        return cls if cls.offset_channels else DeformConv2dPack

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        im2col_step: int = 32,
        backend: str = 'auto',
    ) -> None:
        check('im2col_step', im2col_step, COUNT)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deform_groups,
            bias,
            backend,
        )
        self.im2col_step = im2col_step

    def _draw_weight(self) -> None:
        nn.init.kaiming_uniform_(self.weight, nonlinearity='relu')

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Convolves ``x`` with displaced kernel points."""
        self._check_inputs(x, offset=offset)
        return self._run(x, offset)

    def _run(self, x: Tensor, offset: Tensor) -> Tensor:
        if not self._runs_mmcv(x, offset):
            return self._convolve(x, offset, None)
        batch = x.shape[0]
        step = max(n for n in range(1, min(self.im2col_step, batch) + 1) if batch % n == 0)
        out = compiled_ops().deform_conv2d(
            x.contiguous(),
            offset.contiguous(),
            self.weight.contiguous(),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
            False,
            step,
        )
        return out if self.bias is None else out + self.bias.to(out.dtype).view(-1, 1, 1)


@MODELS.register_module()
class ModulatedDeformConv2d(DeformConvBase):
    """Convolution whose kernel points are displaced by given offsets and weighed by a given mask.

    From `Deformable ConvNets v2 <https://arxiv.org/abs/1811.11168>`_; arguments and keys are those
    of mmcv's ``ModulatedDeformConv2d``, results too, and any device, dtype and batch size will do.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel in pixels, one number or (height, width).
        stride: Step of the kernel in pixels, one number or (vertical, horizontal).
        padding: Zeros around the map in pixels, likewise.
        dilation: Distance of the kernel's points in pixels, likewise.
        groups: Groups of channels that are convolved apart.
        deform_groups: Groups of input channels that have their own offsets and masks.
        bias: Whether there is a bias.
        backend: 'torch' for plain PyTorch, 'mmcv' for its compiled op; 'auto' uses mmcv's on
            CUDA, where it is there and can do the job, and plain PyTorch elsewhere.

    Shape:
        (N, in_channels, H, W), (N, deform_groups * 2 * points, H', W') and
        (N, deform_groups * points, H', W') to (N, out_channels, H', W'), with H' and W' those of a
        plain convolution. Offsets are in pixels, (y, x) point by point, row by row.

    Raises:
        ValueError: An argument or the shape of an input does not fit.
        ImportError: ``backend='mmcv'``, and mmcv has no compiled ops.

    Example:
        >>> import torch
        >>> conv = ModulatedDeformConv2d(8, 4, 3, padding=1)
        >>> conv(torch.rand(1, 8, 5, 6), torch.zeros(1, 18, 5, 6), torch.rand(1, 9, 5, 6)).shape
        torch.Size([1, 4, 5, 6])
    """

    @classmethod
    def as_conv(cls) -> type[ModulatedDeformConv2d]:
        """Returns the layer that computes its own offsets, which is what a config means."""
        return cls if cls.offset_channels else ModulatedDeformConv2dPack

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool | str = True,
        backend: str = 'auto',
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deform_groups,
            bias,
            backend,
        )

    def _draw_weight(self) -> None:
        bound = 1 / math.sqrt(self.in_channels * self.num_points)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolves ``x`` with displaced and weighed kernel points."""
        self._check_inputs(x, offset=offset, mask=mask)
        return self._run(x, offset, mask)

    def _run(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        if not self._runs_mmcv(x, offset):
            return self._convolve(x, offset, mask)
        return compiled_ops().modulated_deform_conv2d(
            x.contiguous(),
            offset.contiguous(),
            mask.contiguous(),
            self.weight.contiguous(),
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deform_groups,
        )


@MODELS.register_module()
class DeformConv2dPack(DeformConv2d):
    """:class:`DeformConv2d` that computes its own offsets, in place of mmcv's ``DCN``.

    ``conv_offset``, a convolution with the same kernel, computes them; it starts at zero, so with a
    plain convolution. Arguments are those of :class:`DeformConv2d`; keys are mmcv's.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, H', W'), as a plain convolution.

    Raises:
        ValueError: An argument does not fit.
        ImportError: ``backend='mmcv'``, and mmcv has no compiled ops.

    Example:
        >>> import torch
        >>> DeformConv2dPack(8, 4, 3, padding=1, deform_groups=2)(torch.rand(1, 8, 5, 6)).shape
        torch.Size([1, 4, 5, 6])
    """

    offset_channels = 2

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # a map alone
        """Computes the offsets and convolves with them."""
        return self._run(x, self.conv_offset(x))


@MODELS.register_module()
class ModulatedDeformConv2dPack(ModulatedDeformConv2d):
    """:class:`ModulatedDeformConv2d` that computes its own offsets and mask, for mmcv's ``DCNv2``.

    ``conv_offset``, a convolution with the same kernel, computes them; it starts at zero, so with
    half of a plain convolution's output. Arguments are those of :class:`ModulatedDeformConv2d`;
    keys are mmcv's. In an mmdet config:
    ``dcn=dict(type='mmblocks.ModulatedDeformConv2dPack', deform_groups=1)``.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, H', W'), as a plain convolution.

    Raises:
        ValueError: An argument does not fit.
        ImportError: ``backend='mmcv'``, and mmcv has no compiled ops.

    Example:
        >>> import torch
        >>> ModulatedDeformConv2dPack(8, 4, 3, padding=1)(torch.rand(1, 8, 5, 6)).shape
        torch.Size([1, 4, 5, 6])
    """

    offset_channels = 3

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # a map alone
        """Computes offsets and mask and convolves with them."""
        maps = self.conv_offset(x)
        points = self.deform_groups * self.num_points
        offset, mask = maps.split([2 * points, points], dim=1)
        return self._run(x, offset, mask.sigmoid())
