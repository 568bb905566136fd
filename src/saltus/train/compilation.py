"""How a training step is compiled for a CPU: by Inductor, with three of its habits changed that cost time there."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch._inductor.compile_fx import compile_fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.lowering import make_fallback

aten = torch.ops.aten

KEPT_WHOLE = (aten.gelu.default, aten.gelu_backward.default)
"""Operations that are not written out: PyTorch's own kernels of them take half the time of the generated ones."""

for op in KEPT_WHOLE:
    make_fallback(op, warn=False, override_decomp=True)  # used only where the rule that writes it out is away


def compile_for_cpu(graph: fx.GraphModule, inputs: Sequence[Any]) -> Any:
    """A backend of `torch.compile`."""
    # Inductor also takes a table of its own, but then keeps no compiled program from one process to the next.
    rules = select_decomp_table()
    away = {op: rules.pop(op) for op in KEPT_WHOLE}
    try:
        return compile_fx(graph, inputs, config_patches={"post_grad_custom_post_pass": RewriteProducts()})
    finally:
        rules.update(away)


class RewriteProducts(CustomGraphPass):
    """The same products, asked for as the library that multiplies does them fastest.

    A bias is added after the product, where it is fused with what follows; added by the product itself it is first
    copied to every row of the result. A product that sums over many tokens, as the gradient of a weight does, is made
    as wide as it can be: of a tall one the transpose is taken.
    """

    def __call__(self, graph: fx.Graph) -> None:
        """Rewrite in place."""
        for node in list(graph.find_nodes(op="call_function", target=aten.addmm.default)):
            if not node.kwargs:
                _add_bias_after(graph, node)
        for node in list(graph.find_nodes(op="call_function", target=aten.mm.default)):
            _widen(graph, node)
        graph.lint()

    def uuid(self) -> Any:
        """What a compiled program is kept under, besides its graph."""
        return get_hash_for_files((__file__,))


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


def _value(node: fx.Node) -> Tensor:
    """What a node gives, without numbers: Inductor reads shapes, strides and types from it."""
    return node.meta["val"]


def _call(graph: fx.Graph, target: Any, arguments: tuple[Any, ...], value: Tensor) -> fx.Node:
    node = graph.call_function(target, arguments)
    node.meta["val"] = value
    return node
