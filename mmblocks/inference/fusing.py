"""Norms, activations and sums become part of the convolutions that they stand beside."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable

import torch
from torch import fx, nn
from torch.nn import functional

from mmblocks.inference.folding import (
    fold_before,
    fold_behind,
    has_hooks,
    is_foldable_conv,
    is_foldable_norm,
    takes_norm_before,
)
from mmblocks.inference.fused_conv import FusedConv2d, post_op_of
from mmblocks.inference.graphs import Slot, slot

_SUMS = (operator.add, operator.iadd, torch.add)
_ACTIVATIONS: dict[object, type[nn.Module]] = {
    functional.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    torch.relu_: nn.ReLU,
}


class Fuser:
    """Changes the submodules of a module and the graph of its forward alike.

    Args:
        module: The module.
        graph: The graph of its forward.
        calls: From how many places each submodule is called, in the whole net; what is called
            from several stays as it is.
        graph_runs: Whether the graph will be run; if not, it has to go on fitting the forward that
            it was made of.
    """

    def __init__(
        self, module: nn.Module, graph: fx.Graph, calls: Counter[Slot], graph_runs: bool
    ) -> None:
        self.module = module
        self.graph = graph
        self.graph_runs = graph_runs
        here = Counter(str(node.target) for node in graph.nodes if node.op == 'call_module')
        self._called_once = {
            target for target, n in here.items() if n == 1 and calls[slot(module, target)] <= 1
        }

    def run(self) -> None:
        """Fuses what there is to fuse."""
        for node in list(self.graph.nodes):
            if self._calls(node, _is_identity):
                self._skip(node)
        for node in list(self.graph.nodes):
            self._fold(node)
        if self.graph_runs:
            for node in list(self.graph.nodes):
                self._fuse_sum(node)
        for node in list(self.graph.nodes):
            self._fuse_activation(node)

    def _calls(self, node: fx.Node | None, accept: Callable[[nn.Module], bool]) -> bool:
        """Returns whether a node calls such a layer, and nothing else calls it."""
        return (
            node is not None
            and node.op == 'call_module'
            and node.target in self._called_once
            and accept(self._layer(node))
        )

    def _layer(self, node: fx.Node) -> nn.Module:
        return self.module.get_submodule(str(node.target))

    def _replace(self, node: fx.Node, layer: nn.Module) -> None:
        parent, _, name = str(node.target).rpartition('.')
        self.module.get_submodule(parent).register_module(name, layer)

    def _skip(self, node: fx.Node, by: fx.Node | None = None) -> None:
        """Takes a node out of the graph; another one, or its input, is read in its place."""
        replacement = by or _input(node)
        assert replacement is not None
        node.replace_all_uses_with(replacement)
        self.graph.erase_node(node)

    def _fold(self, norm: fx.Node) -> None:
        if not self._calls(norm, is_foldable_norm):
            return
        before, behind = _input(norm), _only_user(norm)
        if before and self._calls(before, is_foldable_conv) and _only_user(before) is norm:
            self._replace(before, fold_behind(self._layer(before), self._layer(norm)))
        elif behind and self._calls(behind, takes_norm_before):
            self._replace(behind, fold_before(self._layer(norm), self._layer(behind)))
        else:
            return
        self._replace(norm, nn.Identity())
        self._skip(norm)

    def _fuse_sum(self, node: fx.Node) -> None:
        terms = [arg for arg in node.args if isinstance(arg, fx.Node)]
        if node.target not in _SUMS or node.kwargs or len(terms) != 2 or terms[0] is terms[1]:
            return
        for conv, other in (terms, terms[::-1]):
            x = _input(conv)
            if (
                x is not None
                and self._calls(conv, _is_fused)
                and _only_user(conv) is node
                and len(conv.args) == 1
                and _is_unused_between(x, conv, node)
                # The other one is not written to any more, where that would be seen.
                and not (node.target is operator.iadd and other is terms[0])
            ):
                with self.graph.inserting_before(node):
                    fused = self.graph.call_module(str(conv.target), (x, other))
                self._skip(node, by=fused)
                self.graph.erase_node(conv)
                return

    def _fuse_activation(self, node: fx.Node) -> None:
        activation, conv = self._activation(node), _input(node)
        if activation is None or conv is None or _only_user(conv) is not node:
            return
        layer = self._layer(conv) if self._calls(conv, _is_fused) else None
        if not isinstance(layer, FusedConv2d) or layer.activation is not None:
            return
        if not self.graph_runs:
            self._replace(node, nn.Identity())
        layer.fuse(activation)
        self._skip(node)

    def _activation(self, node: fx.Node) -> nn.Module | None:
        if node.op == 'call_module' and (self.graph_runs or node.target in self._called_once):
            layer = self._layer(node)
            return None if post_op_of(layer) is None or has_hooks(layer) else layer
        if self.graph_runs and node.target in _ACTIVATIONS:
            return _ACTIVATIONS[node.target]()
        return None


def _is_fused(module: nn.Module) -> bool:
    return isinstance(module, FusedConv2d)


def _is_identity(module: nn.Module) -> bool:
    return type(module) is nn.Identity and not has_hooks(module)


def _input(node: fx.Node) -> fx.Node | None:
    first = node.args[0] if node.args else None
    return first if isinstance(first, fx.Node) else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_unused_between(value: fx.Node, start: fx.Node, end: fx.Node) -> bool:
    """Returns whether nothing can have written to a value between two nodes."""
    node = start.next
    while node is not end:
        if value in node.all_input_nodes:
            return False
        node = node.next
    return True
