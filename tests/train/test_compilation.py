"""The compiler's backend for a CPU, and the filling of rows: the same numbers, asked for in another way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, library, nn
from torch._dynamo.utils import counters
from torch._inductor.utils import run_and_get_code
from torch.fx.experimental.proxy_tensor import make_fx

import saltus.train.program as program_module
from saltus.seeding import Streams
from saltus.specs import LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.tasks.build import build_task
from saltus.train import compilation
from saltus.train.compilation import SMALLEST, RewriteProducts, compile_for_cpu, multiply, prefers_onednn
from saltus.train.program import Inputs, Program, compile_step

aten = torch.ops.aten


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def rewrite(function: Callable[..., Tensor], *inputs: Tensor) -> fx.GraphModule:
    graph = make_fx(function, tracing_mode="fake")(*inputs)
    RewriteProducts()(graph.graph)
    graph.recompile()
    torch.testing.assert_close(graph(*inputs), function(*inputs))
    return graph


def targets(graph: fx.GraphModule) -> list[object]:
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


def layer(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return aten.addmm(bias, x, weight)


def scaled_layer(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return aten.addmm(bias, x, weight, beta=0.5)


def test_a_bias_is_added_after_the_product() -> None:
    graph = rewrite(layer, draw(5), draw(7, 3), draw(3, 5))
    assert targets(graph) == [aten.mm.default, aten.add.Tensor]


def test_a_scaled_sum_stays_as_it_is() -> None:
    graph = rewrite(scaled_layer, draw(5), draw(7, 3), draw(3, 5))
    assert targets(graph) == [aten.addmm.default]


def weight_gradient(grown: Tensor, x: Tensor) -> Tensor:
    return aten.mm(aten.permute(grown, [1, 0]), x)


@pytest.mark.parametrize(
    ("rows", "columns", "summed", "turned"), [(8, 4, 20, True), (4, 8, 20, False), (8, 4, 6, False)]
)
def test_a_tall_sum_over_tokens_is_made_wide(rows: int, columns: int, summed: int, turned: bool) -> None:
    graph = rewrite(weight_gradient, draw(summed, rows), draw(summed, columns))
    product = next(node for node in graph.graph.nodes if node.target is aten.mm.default)
    assert tuple(product.meta["val"].shape) == ((columns, rows) if turned else (rows, columns))


def product(left: Tensor, right: Tensor) -> Tensor:
    return aten.mm(left, right)


@pytest.mark.parametrize("preferred", [True, False])
def test_products_go_to_the_faster_library(preferred: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "prefers_onednn", lambda: preferred)
    large, small, double = draw(32, 20), draw(SMALLEST - 1, 20), draw(32, 20).double()
    expected = torch.ops.saltus.product.default if preferred else aten.mm.default
    assert targets(rewrite(product, large, draw(20, 32))) == [expected]
    assert targets(rewrite(product, small, draw(20, 32))) == [aten.mm.default]
    assert targets(rewrite(product, double, draw(20, 32).double())) == [aten.mm.default]


@pytest.mark.parametrize(("turn_left", "turn_right"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_other_library_multiplies_whatever_lies_turned(turn_left: bool, turn_right: bool) -> None:
    left = draw(40, 70).t() if turn_left else draw(70, 40)
    right = draw(90, 40).t() if turn_right else draw(40, 90)
    exact = left.double() @ right.double()
    torch.testing.assert_close(multiply(left, right).double(), exact, rtol=1e-5, atol=1e-5)
    library.opcheck(multiply, (left, right))


@pytest.mark.parametrize(("vendor", "preferred"), [("GenuineIntel", False), ("AuthenticAMD", True)])
def test_the_library_follows_the_maker_of_the_cpu(
    vendor: str, preferred: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(compilation, "CPU_LISTING", listing)
    monkeypatch.setattr("torch.backends.mkl.is_available", lambda: True)
    prefers_onednn.cache_clear()
    try:
        assert prefers_onednn() == preferred
    finally:
        prefers_onednn.cache_clear()


def test_the_backend_rewrites_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")  # there Inductor refuses what it lowers by accident

    def loss(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        return F.gelu(F.linear(x, weight, bias)).square().sum()

    inputs = draw(8, 4), draw(8), draw(20, 4)
    step = torch.func.grad_and_value(loss)
    compiled = torch.compile(step, backend=compile_for_cpu, fullgraph=True)
    (gradient, value), (code, *_) = run_and_get_code(compiled, *inputs)
    torch.testing.assert_close((gradient, value), step(*inputs))
    assert "addmm" not in code


def test_a_compiled_program_is_kept_for_the_next_process() -> None:
    """Inductor passes its caches by without a word where anything in a program has no stable key."""
    spec = RunSpec(
        name="kept",
        task=LinearMapSpec(size=5, sparsity=2),
        model=TransformerSpec(d_model=16, heads=2),
        training=TrainingSpec(steps=1, batch_sequences=8),
        seeds=1,
    )
    streams = Streams(0)
    task = build_task(spec.task, streams.generator("task"))
    program = Program(spec, task.facts, torch.device("cpu"), stacked=False, biased=False)
    weights = program.flatten(dict(program.model.named_parameters()))[None]
    counters.clear()
    program.gradient(weights, torch.from_numpy(task.sample(streams.generator("data"), 8))[None], Inputs())
    assert counters["inductor"]["fxgraph_cache_miss"] + counters["inductor"]["fxgraph_cache_hit"] == 1
    assert counters["inductor"]["fxgraph_cache_bypass"] == 0
    assert counters["aot_autograd"]["autograd_cache_bypass"] == 0


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("biased", [False, True])
def test_filled_rows_change_nothing(positions: str, biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec(
        name="filled",
        task=LinearMapSpec(size=6, sparsity=2),
        model=TransformerSpec.model_validate({"layers": 2, "d_model": 16, "heads": 2, "positions": positions}),
        training=TrainingSpec(steps=1, batch_sequences=32, precision="bfloat16", compile=False),
        seeds=1,
    )
    streams = Streams(0)
    task = build_task(spec.task, streams.generator("task"))
    tokens = torch.from_numpy(task.sample(streams.generator("data"), 32))[None]
    q = task.facts.queries
    bias = draw(1, 2, 2, q, q) if biased else None
    seen: list[int] = []
    call = program_module.functional_call

    def watch(model: nn.Module, weights: dict[str, Tensor], inputs: tuple[Tensor, Tensor | None]) -> Tensor:
        seen.append(inputs[0].shape[1])
        return call(model, weights, inputs)

    monkeypatch.setattr(program_module, "functional_call", watch)
    results: list[tuple[Tensor, Tensor]] = []
    for row in (program_module.ROW, 1):
        monkeypatch.setattr(program_module, "ROW", row)
        program = Program(spec, task.facts, torch.device("cpu"), stacked=False, biased=bias is not None)
        weights = program.flatten(dict(program.model.named_parameters()))[None]
        results.append(program.gradient(weights, tokens, Inputs(bias=bias)))
    assert seen == [q + -q % 16, q]
    (filled, loss), (plain, plain_loss) = results
    assert filled.shape == plain.shape
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-4)
    assert (filled - plain).norm() < 0.01 * plain.norm()


@pytest.mark.parametrize(
    ("how", "device", "mode"),
    [(True, "cuda", None), ("graphs", "cuda", "reduce-overhead"), ("auto", "cuda", None), ("graphs", "cpu", None)],
)
def test_a_step_is_recorded_as_a_graph_where_it_is_asked_for_and_can_be(
    how: bool | str, device: str, mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def record(step: Callable[..., Any], *, mode: object, **_: object) -> Callable[..., Any]:
        asked.append(mode)
        return step

    monkeypatch.setattr("torch.compile", record)
    compile_step(draw, how, torch.device(device))
    assert asked == [mode]
