"""A convolution that runs what follows it in the same pass over memory."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

import torch
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn

from mmblocks.utils.tracing import is_tracing


class _Packed(NamedTuple):
    """A weight in the order of oneDNN's kernels, and of what it was made."""

    weight: Tensor
    source: tuple[int, int]


class FusedConv2d(nn.Conv2d):
    """A convolution for inference, plus another map if there is one, then an activation.

    On a CPU in float32, where no gradient is wanted, all of it is one call of oneDNN with a weight
    that is put in order once; elsewhere it is what it says, call by call.

    Args:
        conv: The convolution, whose parameters are taken over.
        activation: What follows it; None for nothing.

    Shape:
        As nn.Conv2d; the other map has the shape of the output.

    Example:
        >>> conv = nn.Conv2d(3, 8, 3, padding=1)
        >>> x = torch.rand(1, 3, 6, 6)
        >>> fused = FusedConv2d(conv, nn.ReLU()).requires_grad_(False)
        >>> torch.allclose(fused(x), conv(x).relu(), atol=1e-6)
        True
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None = None) -> None:
        geometry: dict[str, Any] = dict(
            kernel_size=conv.kernel_size,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
        )
        super().__init__(conv.in_channels, conv.out_channels, **geometry, device='meta')
        self.weight, self.bias = conv.weight, conv.bias
        self.activation = activation
        self.train(conv.training)
        self._packed: _Packed | None = None

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Convolves ``x``, adds ``other`` and activates."""
        post_op = post_op_of(self.activation)
        if post_op is None or not self._runs_onednn(x, other):
            out = super().forward(x)
            if other is not None:
                out = out + other
            return out if self.activation is None else self.activation(out)
        return self._run_onednn(x, other, post_op)

    def _runs_onednn(self, x: Tensor, other: Tensor | None) -> bool:
        return bool(
            not is_tracing()
            and x.device.type == 'cpu'
            and x.dtype == self.weight.dtype == torch.float32
            and x.dim() == 4
            and x.numel() > 0
            and not torch.is_autocast_enabled('cpu')
            and not (torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad))
            and torch.backends.mkldnn.is_available()
            and torch.backends.mkldnn.enabled
            and (other is None or other.shape == self._out_shape(x))
        )

    def _out_shape(self, x: Tensor) -> tuple[int, ...]:
        pairs: Any = (self.padding, self.dilation, self.kernel_size, self.stride)
        sizes = zip(x.shape[2:], *pairs, strict=True)
        return (
            x.shape[0],
            self.out_channels,
            *((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, p, d, k, s in sizes),
        )

    def _run_onednn(self, x: Tensor, other: Tensor | None, post_op: PostOp) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        geometry = (self.padding, self.stride, self.dilation, self.groups)
        weight = self._pack(x)
        conv = torch.ops.mkldnn._convolution_pointwise
        if other is None:
            return conv.default(x, weight, self.bias, *geometry, *post_op)
        other = other.contiguous(memory_format=torch.channels_last)
        # Behind a sum it knows the ReLU alone.
        fuses = post_op.name == 'relu'
        behind = ('relu', (), '') if fuses else (None, (), None)
        out = conv.binary(x, other, weight, self.bias, *geometry, 'add', 1.0, *behind)
        return out if fuses or self.activation is None else self.activation(out)

    def _pack(self, x: Tensor) -> Tensor:
        version = -1 if self.weight.is_inference() else self.weight._version
        source = (id(self.weight), version)
        if self._packed is None or self._packed.source != source:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight.detach(),
                self.padding,
                self.stride,
                self.dilation,
                self.groups,
                list(x.shape),
            )
            self._packed = _Packed(weight, source)
        return self._packed.weight

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the packed weight, which can be neither copied nor pickled."""
        return {**self.__dict__, '_packed': None}


def is_plain_conv(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Returns whether a module is a convolution that a FusedConv2d can take the place of.

    Args:
        module: A layer; one with hooks is none of them.
    """
    return (
        type(module) in (nn.Conv2d, wrappers.Conv2d)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and module.padding_mode == 'zeros'
        and not isinstance(module.padding, str)
    )


class PostOp(NamedTuple):
    """An activation as oneDNN takes it."""

    name: str | None = None
    scalars: tuple[float, ...] = ()
    algorithm: str = ''


def post_op_of(activation: nn.Module | None) -> PostOp | None:
    """Returns an activation as oneDNN takes it; None where it has none of the kind.

    Args:
        activation: An activation layer; None for nothing, which oneDNN has too.

    Example:
        >>> post_op_of(nn.ReLU6())
        PostOp(name='hardtanh', scalars=(0, 6), algorithm='')
        >>> post_op_of(nn.Softplus()) is None
        True
    """
    if activation is None:
        return PostOp('none')
    kind = type(activation)
    if kind in _POST_OPS:
        return PostOp(_POST_OPS[kind])
    if isinstance(activation, nn.Hardtanh):
        return PostOp('hardtanh', (activation.min_val, activation.max_val))
    if isinstance(activation, nn.LeakyReLU):
        return PostOp('leaky_relu', (activation.negative_slope,))
    return None


_POST_OPS = {
    nn.ReLU: 'relu',
    nn.Sigmoid: 'sigmoid',
    nn.Tanh: 'tanh',
    nn.Hardswish: 'hardswish',
    nn.Hardsigmoid: 'hardsigmoid',
    nn.SiLU: 'swish',
}
