"""A training step is compiled where it is work enough, and what decides is said."""

from io import StringIO
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.optim import Muon
from torch.utils.flop_counter import FlopCounterMode

from saltus.models.build import build_model
from saltus.report.terminal.training import LiveView
from saltus.specs import LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.tasks.build import read_facts
from saltus.train.flops import COMPILED_FROM, count_flops, is_compiled


def make_run(batch: int, asked: Any = "auto") -> RunSpec:
    return RunSpec(
        task=LinearMapSpec(size=10, sparsity=3),
        model=TransformerSpec(d_model=64, heads=8, d_mlp=128),
        training=TrainingSpec(steps=100, batch_sequences=batch, compile=asked),
    )


def test_auto_compiles_where_a_step_is_work_enough_whatever_the_steps_and_seeds_are() -> None:
    one = count_flops(make_run(1))
    border = int(COMPILED_FROM / one)
    assert [is_compiled(make_run(batch)) for batch in (1, border, border + 1)] == [False, False, True]
    for batch in (border, border + 1):
        longer = make_run(batch).with_overrides(steps=10**6, seeds=1000)
        assert is_compiled(longer) == is_compiled(make_run(batch))
    assert is_compiled(make_run(1, True))
    assert not is_compiled(make_run(border + 1, False))


@pytest.mark.parametrize("d_mlp", [16, 128])
def test_what_muon_adds_to_a_step_is_what_pytorch_counts(d_mlp: int) -> None:
    run = make_run(1)
    spec = run.model_copy(update={"model": TransformerSpec(layers=2, d_model=64, heads=2, d_head=8, d_mlp=d_mlp)})
    other = spec.model_copy(update={"training": spec.training.model_copy(update={"optimizer": "muon"})})
    model = build_model(spec.model, read_facts(spec), 0)
    matrices = [weight for name, weight in model.named_parameters() if name.startswith("blocks.") and weight.ndim == 2]
    for weight in matrices:
        weight.grad = torch.randn_like(weight)
    with FlopCounterMode(display=False) as counter:
        Muon(matrices).step()
    assert count_flops(other) - count_flops(spec) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("batch", "asked", "said"),
    [
        (64, "auto", "run: preparing (not compiled: a step of a seed is 0.26 GFLOP, the least that is compiled is 1)"),
        (640, "auto", "run: preparing (compiled: a step of a seed is 2.6 GFLOP, the least that is compiled is 1; comp"),
        (64, True, "run: preparing (compiling takes about a minute once)"),
        (640, False, "run: preparing"),
    ],
)
def test_before_training_it_is_said_whether_a_step_is_compiled_and_why(batch: int, asked: Any, said: str) -> None:
    out = StringIO()
    LiveView([make_run(batch, asked)], Console(file=out, width=200))
    (line,) = out.getvalue().splitlines()
    assert line.startswith(said)
    assert ("compil" in line) == ("compil" in said)
