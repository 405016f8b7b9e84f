"""BatchNorm in eval mode, written into the weight and bias of a convolution beside it."""

from __future__ import annotations

import copy
from typing import Any

from mmcv.cnn.bricks import wrappers
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
from torch import Tensor, nn

from mmblocks.inference.fused_conv import FusedConv2d
from mmblocks.layers.deform_base import DeformConvBase
from mmblocks.layers.same_padding import Conv2dSamePadding

_TRANSPOSED = (
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    wrappers.ConvTranspose2d,
    wrappers.ConvTranspose3d,
)
# Exact classes, since one that is derived from them may do more with its weight.
_CONVS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    FusedConv2d,
    wrappers.Conv2d,
    wrappers.Conv3d,
    Conv2dAdaptivePadding,
    Conv2dSamePadding,
    *_TRANSPOSED,
)
# mmcv's deformable convolutions that take a bias, by name, since importing mmcv.ops may fail.
_MMCV_CONVS = ('ModulatedDeformConv2d', 'ModulatedDeformConv2dPack')
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, SyncBatchNorm)


def is_foldable_conv(module: nn.Module) -> bool:
    """Returns whether a layer's output is linear in its weight, plus its bias.

    Args:
        module: A layer; one with hooks is none of them.
    """
    kind = type(module)
    return not has_hooks(module) and (
        kind in _CONVS
        or (isinstance(module, DeformConvBase) and kind.__module__.startswith('mmblocks.'))
        or (kind.__module__.startswith('mmcv.ops.') and kind.__name__ in _MMCV_CONVS)
    )


def is_foldable_norm(module: nn.Module) -> bool:
    """Returns whether a layer is a BatchNorm that goes by its running statistics in eval mode.

    Args:
        module: A layer; one with hooks is none of them.
    """
    kind = type(module)
    is_norm = kind in _NORMS or (
        kind.__module__.startswith('mmcv.ops.') and kind.__name__ == 'SyncBatchNorm'
    )
    return is_norm and not has_hooks(module) and isinstance(module.running_mean, Tensor)


def has_hooks(module: nn.Module) -> bool:
    """Returns whether anything is called with the module's inputs or outputs."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def fold_behind(conv: Any, norm: Any) -> nn.Module:
    """Returns a convolution that does what a convolution and the norm behind it do.

    Args:
        conv: A convolution of :func:`is_foldable_conv`.
        norm: A norm of :func:`is_foldable_norm`.

    Example:
        >>> import torch
        >>> conv, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval()
        >>> x = torch.rand(1, 3, 8, 8)
        >>> torch.allclose(fold_behind(conv, norm)(x), norm(conv(x)), atol=1e-6)
        True
    """
    scale, shift = _scale_and_shift(norm)
    weight = conv.weight.detach().double()
    if isinstance(conv, _TRANSPOSED):
        # (in, out / groups, ...), and the groups are parts of the first dimension.
        grouped = weight.unflatten(0, (conv.groups, -1))
        grouped = grouped * scale.view(conv.groups, 1, -1, *[1] * (weight.dim() - 2))
        weight = grouped.flatten(0, 1)
    else:
        weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    bias = shift if conv.bias is None else shift + scale * conv.bias.detach().double()
    return _with_values(conv, weight, bias)


def fold_before(norm: Any, conv: Any) -> nn.Module:
    """Returns a convolution that does what a norm and the convolution behind it do.

    Args:
        norm: A norm of :func:`is_foldable_norm`.
        conv: A convolution of :func:`takes_norm_before`.

    Example:
        >>> import torch
        >>> norm, conv = nn.BatchNorm2d(4).eval(), nn.Conv2d(4, 8, 3)
        >>> x = torch.rand(1, 4, 8, 8)
        >>> torch.allclose(fold_before(norm, conv)(x), conv(norm(x)), atol=1e-6)
        True
    """
    scale, shift = _scale_and_shift(norm)
    weight = conv.weight.detach().double()
    per_group = (conv.groups, -1, *weight.shape[1:])
    grouped = weight.view(per_group)  # (groups, out / groups, in / groups, ...)
    ones = [1] * (weight.dim() - 2)
    added = (grouped * shift.view(conv.groups, 1, -1, *ones)).flatten(2).sum(2).flatten()
    scaled = (grouped * scale.view(conv.groups, 1, -1, *ones)).view_as(weight)
    return _with_values(
        conv, scaled, added if conv.bias is None else added + conv.bias.detach().double()
    )


def takes_norm_before(conv: nn.Module) -> bool:
    """Returns whether a norm before a convolution can be folded into it.

    Not where it pads, since a border of zeros lies behind the norm.

    Args:
        conv: A layer.
    """
    return isinstance(conv, FusedConv2d) and not any(conv.padding)


def _scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    mean, var = norm.running_mean.double(), norm.running_var.double()
    scale = (var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()


def _with_values(conv: Any, weight: Tensor, bias: Tensor) -> nn.Module:
    memo = {id(conv.weight): None, id(conv.bias): None}  # not copied, as they are replaced
    new: Any = copy.deepcopy(conv, memo)
    new.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    new.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
    return new
