"""How a training step is compiled for a CPU: by Inductor, with two of its habits changed that cost time there."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, library
from torch._inductor.compile_fx import compile_fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

aten = torch.ops.aten

CPU_LISTING = Path("/proc/cpuinfo")

SMALLEST = 16
"""Products with a side below this stay with the usual library: there is too little in them to gain."""


@library.custom_op("saltus::product", mutates_args=())
def multiply(left: Tensor, right: Tensor) -> Tensor:
    """[m, k] by [k, n] -> [m, n] in float32, by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")


@multiply.register_fake
def _(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(left.shape[0], right.shape[1])


@cache
def prefers_onednn() -> bool:
    """Whether float32 products are faster by oneDNN here than by MKL, whose fast kernels are for Intel's CPUs alone."""
    both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return both and CPU_LISTING.exists() and "GenuineIntel" not in CPU_LISTING.read_text(encoding="utf-8")


def compile_for_cpu(graph: fx.GraphModule, inputs: Sequence[Any]) -> Any:
    """A backend of `torch.compile`."""
    return compile_fx(graph, inputs, config_patches={"post_grad_custom_post_pass": RewriteProducts()})


class RewriteProducts(CustomGraphPass):
    """The same products, asked for as the library that multiplies does them fastest.

    A bias is added after the product, where it is fused with what follows; added by the product itself it is first
    copied to every row of the result. A product that sums over many tokens, as the gradient of a weight does, is made
    as wide as it can be: of a tall one the transpose is taken. And where another library is faster than the usual one,
    it is asked instead.
    """

    def __call__(self, graph: fx.Graph) -> None:
        """Rewrite in place."""
        for node in list(graph.find_nodes(op="call_function", target=aten.addmm.default)):
            if not node.kwargs:
                _add_bias_after(graph, node)
        for node in list(graph.find_nodes(op="call_function", target=aten.mm.default)):
            _widen(graph, node)
        if prefers_onednn():
            for node in list(graph.find_nodes(op="call_function", target=aten.mm.default)):
                _hand_over(graph, node)
        graph.lint()

    def uuid(self) -> Any:
        """What a compiled program is kept under, besides its graph."""
        return get_hash_for_files((__file__,)), prefers_onednn()


def _add_bias_after(graph: fx.Graph, node: fx.Node) -> None:
    bias, left, right = node.args
    with graph.inserting_before(node):
        product = _call(graph, aten.mm.default, (left, right), _value(node))
        node.replace_all_uses_with(_call(graph, aten.add.Tensor, (product, bias), _value(node)))
    graph.erase_node(node)


def _widen(graph: fx.Graph, node: fx.Node) -> None:
    left, right = cast("tuple[fx.Node, fx.Node]", node.args)
    rows, summed = _value(left).shape
    columns = _value(right).shape[1]
    if left.target is not aten.permute.default or not columns < rows < summed:
        return
    with graph.inserting_before(node):
        turned = _call(graph, aten.permute.default, (right, [1, 0]), _value(right).t())
        product = _call(graph, aten.mm.default, (turned, left.args[0]), _value(node).new_empty(columns, rows))
        node.replace_all_uses_with(_call(graph, aten.permute.default, (product, [1, 0]), _value(product).t()))
    graph.erase_node(node)


def _hand_over(graph: fx.Graph, node: fx.Node) -> None:
    left, right = cast("tuple[fx.Node, fx.Node]", node.args)
    sides = *_value(left).shape, _value(right).shape[1]
    if _value(node).dtype != torch.float32 or min(sides) < SMALLEST:
        return
    with graph.inserting_before(node):
        node.replace_all_uses_with(_call(graph, torch.ops.saltus.product.default, (left, right), _value(node)))
    graph.erase_node(node)


def _value(node: fx.Node) -> Tensor:
    """What a node gives, without numbers: Inductor reads shapes, strides and types from it."""
    return node.meta["val"]


def _call(graph: fx.Graph, target: Any, arguments: tuple[Any, ...], value: Tensor) -> fx.Node:
    node = graph.call_function(target, arguments)
    node.meta["val"] = value
    return node
