"""What distinguishes nets whose tensors are the same: padding, eps, activation and style."""

from __future__ import annotations

from collections.abc import Iterator

from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmblocks.layers.residual import Bottleneck
from mmblocks.layers.same_padding import Conv2dSamePadding
from mmblocks.weights.published import Trait


def _eps(net: nn.Module) -> set[float]:
    return {part.eps for part in _own_parts(net) if isinstance(part, _BatchNorm)}


def _eps_argument(eps: float, net: nn.Module) -> str:
    synced = any(isinstance(part, nn.SyncBatchNorm) for part in net.modules())
    return f"norm_cfg=dict(type='{'SyncBN' if synced else 'BN'}', eps={eps:g})"


def _padding(net: nn.Module) -> set[str]:
    return {
        'same' if isinstance(part, (Conv2dSamePadding, Conv2dAdaptivePadding)) else 'symmetric'
        for part in _own_parts(net)
        if isinstance(part, nn.Conv2d) and max(part.stride) > 1 and max(part.kernel_size) > 1
    }


def _padding_argument(padding: str, net: nn.Module) -> str:
    same = "dict(type='mmblocks.Conv2dSamePadding')"
    return f'conv_cfg={same if padding == "same" else None}'


def _activations(net: nn.Module) -> set[str]:
    parts = (getattr(part, 'activate', None) for part in _own_parts(net))
    return {type(part).__name__ for part in parts if part is not None}


def _activation_argument(name: str, net: nn.Module) -> str:
    return f"act_cfg=dict(type='{name}')"


def _styles(net: nn.Module) -> set[str]:
    """Returns which convolution has the stride in the bottlenecks that have one."""
    strides = [
        (_stride(block.conv1), _stride(block.conv2))
        for block in net.modules()
        if isinstance(block, Bottleneck)
    ]
    return {'caffe' if first > 1 else 'pytorch' for first, second in strides if first * second > 1}


def _style_argument(style: str, net: nn.Module) -> str:
    return f'style={style!r}'


def _stride(conv: nn.Module) -> int:
    # Layers that a config puts in place of a convolution may count in one int.
    stride = getattr(conv, 'stride', 1)
    return stride if isinstance(stride, int) else max(stride)


# Functions and no lambdas, so that nets can be pickled.
PADDING = Trait(_padding, _padding_argument)
EPS = Trait(_eps, _eps_argument)
ACTIVATION = Trait(_activations, _activation_argument)
STYLE = Trait(_styles, _style_argument)


def _own_parts(net: nn.Module) -> Iterator[nn.Module]:
    """Returns the parts of a net but for those that a config has put into it."""
    inserted = getattr(net, 'inserted', {})
    others = tuple(f'{name}.' for name, entry in inserted.items() if entry.by != 'dcn')
    for name, module in net.named_modules():
        if not (others and f'{name}.'.startswith(others)):
            yield module
