"""What a module's forward does with its submodules, as a graph of their calls."""

from __future__ import annotations

import inspect
import operator
from collections import Counter

import torch
from torch import fx, nn
from torch.nn import functional

from mmblocks.inference.folding import has_hooks, is_foldable_conv

# What depends on nothing but its arguments.
_FUNCTIONS = {
    *(operator.add, operator.iadd, operator.mul, operator.imul, operator.getitem),
    *(torch.add, torch.mul, torch.cat, torch.relu, torch.relu_, torch.sigmoid, torch.chunk),
    *(functional.relu, functional.silu, functional.hardswish, functional.hardsigmoid),
    *(functional.adaptive_avg_pool2d, functional.interpolate, functional.dropout),
}
_METHODS = {
    'add',
    'add_',
    'mul',
    'mul_',
    'mean',
    'chunk',
    'relu',
    'relu_',
    'sigmoid',
    'flatten',
    'split',
}
# Where a submodule hangs: the module that holds it and its name there.
Slot = tuple[int, str]


class _Proxy(fx.Proxy):
    """A tensor in a recording, with the sums and products that are written over it."""

    def __iadd__(self, other: object) -> fx.Proxy:
        return self.tracer.create_proxy('call_function', operator.iadd, (self, other), {})

    def __imul__(self, other: object) -> fx.Proxy:
        return self.tracer.create_proxy('call_function', operator.imul, (self, other), {})


class _Shallow(fx.Tracer):
    """Records the calls of a module's submodules and goes into none of them."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


class _Deep(_Shallow):
    """Goes into all but the layers of PyTorch and those that can be folded."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_foldable_conv(m) or fx.Tracer.is_leaf_module(self, m, module_qualified_name)


def trace_block(block: nn.Module) -> fx.Graph | None:
    """Records a block down to its layers.

    Args:
        block: A module from one tensor to one tensor.

    Returns:
        The graph; None where running it could give anything else than the block's forward: where
        that depends on values or shapes or calls what is not known to be safe, or where something
        is hooked to a module.
    """
    if any(map(has_hooks, block.modules())):
        return None
    graph = trace(block, _Deep())
    if graph is None or sum(node.op == 'placeholder' for node in graph.nodes) != 1:
        return None
    own = {name for name, _ in (*block.named_parameters(), *block.named_buffers())}
    for node in graph.nodes:
        if node.op == 'call_function' and node.target not in _FUNCTIONS:
            return None
        if node.op == 'call_method' and node.target not in _METHODS:
            return None
        if node.op == 'get_attr' and node.target not in own:  # a value of the recording
            return None
        node.type = None  # an annotation, of no use and in the way of pickling
    return graph


def trace(module: nn.Module, tracer: fx.Tracer | None = None) -> fx.Graph | None:
    """Records a module's forward, with the defaults of its optional arguments.

    Args:
        module: The module.
        tracer: Says which calls are nodes; default: those of all submodules.

    Returns:
        The graph; None where forward depends on values or shapes, so that there is no one graph.
    """
    arguments = inspect.signature(module.forward).parameters.values()
    defaults = {a.name: a.default for a in arguments if a.default is not a.empty}
    try:
        return (tracer or _Shallow()).trace(module, concrete_args=defaults)
    except Exception:
        # Whatever a forward does with what is no tensor.
        return None


def count_calls(graphs: dict[nn.Module, fx.Graph]) -> Counter[Slot]:
    """Counts from how many places each submodule is called.

    Args:
        graphs: Modules and the graphs of their forwards.
    """
    slots = {
        module: [slot(module, str(node.target)) for node in graph.nodes if node.op == 'call_module']
        for module, graph in graphs.items()
    }
    called = {
        module.get_submodule(str(node.target))
        for module, graph in graphs.items()
        for node in graph.nodes
        if node.op == 'call_module'
    }
    calls = Counter(slot for own in slots.values() for slot in own)
    for module, own in slots.items():
        # Mere containers, whose elements others run.
        is_unused = isinstance(module, nn.Sequential) and module not in called
        if is_unused and any(calls[slot] > 1 for slot in own):
            calls.subtract(own)
    return calls


def slot(module: nn.Module, target: str) -> Slot:
    """Returns where a submodule hangs.

    Args:
        module: A module.
        target: The submodule's name in it.
    """
    parent, _, name = target.rpartition('.')
    return id(module.get_submodule(parent)), name
