"""A convolution that runs what follows it in the same pass over memory."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

import torch
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn

from mmblocks.layers.same_padding import Conv2dSamePadding
from mmblocks.utils.tracing import is_tracing

_HAS_ONEDNN = torch.backends.mkldnn.is_available()
_PLAIN = (nn.Conv2d, wrappers.Conv2d, Conv2dSamePadding)


class PostOp(NamedTuple):
    """An activation as oneDNN takes it."""

    name: str
    scalars: tuple[float, ...] = ()
    algorithm: str = ''


_NONE = PostOp('none')
_POST_OPS = {
    nn.ReLU: 'relu',
    nn.Sigmoid: 'sigmoid',
    nn.Tanh: 'tanh',
    nn.Hardswish: 'hardswish',
    nn.Hardsigmoid: 'hardsigmoid',
    nn.SiLU: 'swish',
}


class FusedConv2d(nn.Conv2d):
    """A convolution for inference, plus another map if there is one, then an activation.

    On a CPU in float32, where no gradient is wanted, all of it is one call of oneDNN with a weight
    that is put in order once; elsewhere it is what it says, call by call.

    Args:
        conv: The convolution, whose parameters are taken over.

    Attributes:
        activation: What follows the convolution; None for nothing.

    Shape:
        As nn.Conv2d; the other map has the shape of the output.

    Example:
        >>> conv = nn.Conv2d(3, 8, 3, padding=1).requires_grad_(False)
        >>> fused = FusedConv2d(conv)
        >>> fused.fuse(nn.ReLU())
        >>> x = torch.rand(1, 3, 6, 6)
        >>> torch.allclose(fused(x), conv(x).relu(), atol=1e-6)
        True
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        geometry: dict[str, Any] = dict(
            kernel_size=conv.kernel_size,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
        )
        super().__init__(conv.in_channels, conv.out_channels, **geometry, device='meta')
        self.weight, self.bias = conv.weight, conv.bias
        self.train(conv.training)
        self.activation: nn.Module | None = None
        self._post_op = _NONE
        self._geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self._packed: Tensor | None = None
        self._packed_from: tuple[int, int] | None = None

    def fuse(self, activation: nn.Module) -> None:
        """Takes in the activation behind the convolution.

        Args:
            activation: One of :func:`post_op_of`.
        """
        post_op = post_op_of(activation)
        if post_op is None:
            raise ValueError(f'activation={activation}: oneDNN has none of the kind')
        self.activation, self._post_op = activation, post_op

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Convolves ``x``, adds ``other`` and activates."""
        weight = self.weight
        if not (
            _HAS_ONEDNN
            and not is_tracing()
            and x.is_cpu
            and x.dtype == weight.dtype == torch.float32
            and x.dim() == 4
            and x.shape[2] * x.shape[3] > 1  # for less, oneDNN's call costs more than it saves
            and x.shape[0] > 0
            and not torch.is_autocast_enabled('cpu')
            and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
            and (other is None or other.shape == self._out_shape(x))
        ):
            out = super().forward(x)
            if other is not None:
                out = out + other
            return out if self.activation is None else self.activation(out)
        return self._run_onednn(x, weight, other)

    def _out_shape(self, x: Tensor) -> tuple[int, ...]:
        pairs: Any = (self.padding, self.dilation, self.kernel_size, self.stride)
        sizes = zip(x.shape[2:], *pairs, strict=True)
        return (
            x.shape[0],
            self.out_channels,
            *((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, p, d, k, s in sizes),
        )

    def _run_onednn(self, x: Tensor, weight: Tensor, other: Tensor | None) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        version = 0 if weight.is_inference() else weight._version
        if self._packed is None or self._packed_from != (id(weight), version):
            # In the order that suits maps of this size.
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                weight.detach(), *self._geometry, list(x.shape)
            )
            self._packed_from = (id(weight), version)
        conv = torch.ops.mkldnn._convolution_pointwise
        if other is None:
            return conv.default(x, self._packed, self.bias, *self._geometry, *self._post_op)
        other = other.contiguous(memory_format=torch.channels_last)
        # Behind a sum it knows the ReLU alone.
        fuses = self._post_op.name == 'relu'
        behind = ('relu', (), '') if fuses else (None, (), None)
        out = conv.binary(x, other, self._packed, self.bias, *self._geometry, 'add', 1.0, *behind)
        return out if fuses or self.activation is None else self.activation(out)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the packed weight, which can be neither copied nor pickled."""
        return {**self.__dict__, '_packed': None}


def is_plain_conv(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Returns whether a module is a convolution that a FusedConv2d can take the place of.

    Args:
        module: A layer; one with hooks is none of them.
    """
    return (
        isinstance(module, nn.Conv2d)
        and type(module) in _PLAIN
        and not (isinstance(module, Conv2dSamePadding) and not module.pads_alike)
        and not (module._forward_hooks or module._forward_pre_hooks)
        and module.padding_mode == 'zeros'
        and not isinstance(module.padding, str)
    )


def post_op_of(activation: nn.Module) -> PostOp | None:
    """Returns an activation as oneDNN takes it; None where it has none of the kind.

    Args:
        activation: An activation layer.

    Example:
        >>> post_op_of(nn.ReLU6())
        PostOp(name='hardtanh', scalars=(0.0, 6.0), algorithm='')
        >>> post_op_of(nn.Softplus()) is None
        True
    """
    kind = type(activation)
    if kind in _POST_OPS:
        return PostOp(_POST_OPS[kind])
    if isinstance(activation, nn.Hardtanh):
        return PostOp('hardtanh', (activation.min_val, activation.max_val))
    if isinstance(activation, nn.LeakyReLU):
        return PostOp('leaky_relu', (activation.negative_slope,))
    return None
