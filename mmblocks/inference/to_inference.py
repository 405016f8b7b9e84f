"""The inference form of a module: the same outputs, in less time."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import DropPath, Swish
from torch import fx, nn

from mmblocks.inference.compiling import compile_inference
from mmblocks.inference.folding import has_hooks
from mmblocks.inference.fused_conv import FusedConv2d, is_plain_conv
from mmblocks.inference.fusing import Fuser
from mmblocks.inference.graphs import Slot, count_calls, trace, trace_block

M = TypeVar('M', bound=nn.Module)
# What does nothing in eval mode.
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, DropPath)


def to_inference(module: M, compile: bool = False) -> M:
    """Returns a copy of a module for inference: the same outputs, in less time.

    BatchNorms are folded into the convolutions before them, or behind them where those do not pad;
    activations and the sums of residual blocks are computed with their convolutions; the maps are
    in channels_last order; and what only training needs is left out. What a module does is read
    from its forward; a part of it that cannot be read, or to which something is hooked, stays as
    it is.

    Args:
        module: A backbone, a neck, or a whole detector, of mmblocks or of others. It is not
            changed.
        compile: Have torch.compile make one graph of it, and of a detector one of its backbone and
            one of its neck, at the first call, which has to be under ``torch.no_grad()``.

    Returns:
        The copy, in eval mode and without gradients. It has the attributes of the module and
        other entries in its state dict.

    Raises:
        RuntimeError: ``compile``, and the machine has no C++ compiler.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
        >>> x = torch.rand(1, 3, 16, 16)
        >>> fast = to_inference(net)
        >>> torch.allclose(fast(x), net(x), atol=1e-5)
        True
    """
    module = copy.deepcopy(module).eval().requires_grad_(False)
    _leave_out_training(module)
    module = _with_fused_convs(module)
    parts = list(module.modules())  # Kept: slots go by their ids.
    calls = count_calls(_graphs(parts))
    _fuse_blocks(module, calls)
    for part, graph in _graphs(module.modules()).items():
        Fuser(part, graph, calls, graph_runs=False).run()
    module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        compile_inference(module)
    return module


def _leave_out_training(module: nn.Module) -> None:
    for part in module.modules():
        for name, child in part.named_children():
            if isinstance(child, _DROPOUTS) and not has_hooks(child):
                part.register_module(name, nn.Identity())
            elif type(child) is Swish and not has_hooks(child):  # in one pass over memory
                part.register_module(name, nn.SiLU())
        if getattr(part, 'with_cp', False) is True:
            setattr(part, 'with_cp', False)  # noqa: B010 - which a Module does not know
        if isinstance(part, ConvModule):  # its own folding, at each call
            part.turn_on_efficient_conv_bn_eval(False)


def _with_fused_convs(module: M) -> M:
    """Puts a FusedConv2d in the place of each plain convolution."""
    fused: dict[nn.Module, nn.Module] = {}
    for part in list(module.modules()):
        for name, child in part.named_children():
            if is_plain_conv(child):
                part.register_module(name, fused.setdefault(child, FusedConv2d(child)))
    return module


def _graphs(parts: Iterable[nn.Module]) -> dict[nn.Module, fx.Graph]:
    """Records the forwards of all modules that have submodules and can be recorded."""
    graphs = {
        part: trace(part)
        for part in parts
        if next(part.children(), None) and not isinstance(part, FusedConv2d | fx.GraphModule)
    }
    return {part: graph for part, graph in graphs.items() if graph is not None}


def _fuse_blocks(module: nn.Module, calls: Counter[Slot]) -> None:
    """Puts the graphs of blocks in their places; elements of Sequentials, which are only called."""
    is_sequential = type(module).forward is nn.Sequential.forward
    for name, child in list(module.named_children()):
        is_block = is_sequential and not isinstance(child, nn.Sequential) and any(child.children())
        if is_block and (graph := trace_block(child)) is not None:
            Fuser(child, graph, calls, graph_runs=True).run()
            module.register_module(name, fx.GraphModule(child, graph, type(child).__name__))
        else:
            _fuse_blocks(child, calls)
