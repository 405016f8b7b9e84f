"""The convolution that pads as TensorFlow does."""

from __future__ import annotations

from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from mmblocks.utils.accepted import PADDING, PAIR
from mmblocks.utils.checks import check_arguments


@MODELS.register_module()
class Conv2dSamePadding(nn.Conv2d):
    """A 2D convolution with TensorFlow's padding 'same': as much as the size of the map needs.

    With a stride, the sum of the padding on two opposite sides depends on the size, and the odd
    pixel goes to the bottom and the right; ``padding`` in other convolutions is the same on both
    sides. Numbers and arguments are those of mmcv's ``Conv2dAdaptivePadding``, but a graph that
    ``torch.export`` makes of it also runs on images of other sizes.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Kernel in pixels, one int or (height, width).
        stride: Stride in pixels.
        padding: Not used, since the size decides; all that build layers pass one.
        dilation: Distance between the kernel's values in pixels.
        groups: Groups of channels that are convolved apart.
        bias: Whether it has a bias.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    Example:
        >>> import torch
        >>> Conv2dSamePadding(3, 8, 3, stride=2)(torch.rand(1, 3, 9, 8)).shape
        torch.Size([1, 8, 5, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        check_arguments(
            Conv2dSamePadding,
            locals(),
            kernel_size=PAIR,
            stride=PAIR,
            padding=PADDING,
            dilation=PAIR,
        )
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias)
        # The same for every size and on all sides: then nothing needs to be copied.
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        self.pads_alike = all(
            r == 0 or (stride == 1 and r % 2 == 0)
            for r, stride in zip(reach, self.stride, strict=True)
        )
        if self.pads_alike:
            self.padding = tuple(r // 2 for r in reach)

    def forward(self, x: Tensor) -> Tensor:
        """Pads and convolves."""
        if self.pads_alike:
            return super().forward(x)
        sides = [
            side
            for arguments in zip(
                x.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True
            )
            for side in _sides(*arguments)
        ]
        top, bottom, left, right = sides
        return super().forward(functional.pad(x, (left, right, top, bottom)))


def _sides(size: int, kernel_size: int, stride: int, dilation: int) -> tuple[int, int]:
    # No branch on the size, and a sum that does not depend on it, keep a traced graph open to
    # every size. The sum may be too large by less than a stride, which no position of the kernel
    # reaches.
    reach = dilation * (kernel_size - 1)
    needed = reach - (size - 1) % stride
    # Half of what is above 0: in arithmetic that tensors, symbols and ints all know.
    begin = (needed + abs(needed)) // 4
    return begin, reach - begin
