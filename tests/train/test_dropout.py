"""Dropout in training: of a stream of its own, whoever a seed trains with, and never in an evaluation."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from saltus.models.build import build_model
from saltus.seeding import Streams
from saltus.specs import LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.tasks.build import build_task
from saltus.train import program
from saltus.train.dropout import draw_kept
from saltus.train.ensemble import DATA_BLOCK, Ensemble, Member
from saltus.train.memory import estimate_memory
from saltus.train.schedule import learning_rate_at

CPU = torch.device("cpu")
STEPS, BATCH, RATE = 20, 24, 0.25


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make_spec(*, dropout: float = RATE, **training: Any) -> RunSpec:
    values: dict[str, Any] = {"steps": 200, "batch_sequences": BATCH, "compile": False, "warmup": 5}
    return RunSpec(
        task=LinearMapSpec(size=5, sparsity=2),
        model=TransformerSpec(layers=2, d_model=16, heads=2, d_mlp=24, dropout=dropout),
        training=TrainingSpec(**(values | training)),
        seeds=8,
    )


def ensemble_of(spec: RunSpec, seeds: tuple[int, ...], *, stacked: bool = False) -> Ensemble:
    return Ensemble([spec], [Member(0, seed) for seed in seeds], CPU, stacked=stacked)


def train(spec: RunSpec, seeds: tuple[int, ...] = (0, 3), *, stacked: bool = False) -> float:
    """The summed losses of seed 3."""
    return ensemble_of(spec, seeds, stacked=stacked).advance(STEPS)[Member(0, 3)].total


def test_a_mask_depends_on_master_seed_seed_and_step_alone_and_drops_its_share() -> None:
    spec = make_spec()
    kept = draw_kept(spec, 3, 7)
    assert kept.shape == (BATCH, 4, 9, 16)  # a mixer and an MLP in each of two layers
    spread = np.sqrt(RATE * (1 - RATE) / kept.size)
    assert abs(1 - kept.mean() - RATE) < 5 * spread
    again = make_spec(learning_rate=0.1, optimizer="sgd").with_overrides(seeds=4, steps=20)
    assert np.array_equal(draw_kept(again, 3, 7), kept)
    values = spec.model_dump()
    values["master_seed"] = 1
    other = RunSpec(**values)
    for mask in (draw_kept(spec, 3, 8), draw_kept(spec, 4, 7), draw_kept(other, 3, 7)):
        assert abs((mask == kept).mean() - (1 - 2 * RATE * (1 - RATE))) < 0.02  # as independent masks agree


def test_training_equals_a_plain_loop_with_the_same_masks() -> None:
    spec = make_spec()
    streams = Streams(spec.master_seed)
    task = build_task(spec.task, streams.generator("task"))
    model = build_model(spec.model, task.facts, streams.integer("init", 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    data = task.sample(streams.generator("data", 3, 0), DATA_BLOCK * BATCH).reshape(DATA_BLOCK, BATCH, -1)
    losses = 0.0
    for step in range(STEPS):
        tokens = torch.from_numpy(data[step]).long()
        logits = model(tokens[:, :-1], None, torch.from_numpy(draw_kept(spec, 3, step)))
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = learning_rate_at(spec.training, step)
        optimizer.step()
        losses += loss.item()
    assert train(spec) == pytest.approx(losses, rel=1e-5)
    assert train(make_spec(dropout=0.0)) != pytest.approx(losses, rel=1e-3)  # so that it can be seen


def choose_plain_backend(device: torch.device) -> str:
    """The whole graph is traced, and nothing of it is translated to C++."""
    return "aot_eager"


def test_a_seed_drops_the_same_in_any_company_stacked_in_micro_batches_and_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = train(make_spec(), (3,))
    assert train(make_spec(), (0, 1, 3)) == alone
    assert train(make_spec(), (0, 1, 3), stacked=True) == pytest.approx(alone, rel=1e-5)
    monkeypatch.setattr(program, "_choose_backend", choose_plain_backend)
    assert train(make_spec(compile=True), (3,)) == pytest.approx(alone, rel=1e-5)
    monkeypatch.setattr(program, "MICRO_BATCH_TOKENS", 60)  # 6 sequences of 10 tokens
    assert train(make_spec(), (3,)) == pytest.approx(alone, rel=1e-5)


def test_half_precision_drops_the_same() -> None:
    full, half = train(make_spec(), (3,)), train(make_spec(precision="bfloat16"), (3,))
    other = train(make_spec(dropout=0.0), (3,))
    assert 0 < abs(half - full) < abs(other - full) / 5


@pytest.mark.parametrize("stacked", [False, True])
def test_going_on_from_a_state_equals_not_having_stopped(stacked: bool) -> None:
    unbroken = ensemble_of(make_spec(), (0, 1), stacked=stacked)
    unbroken.advance(7)
    saved = unbroken.state()
    expected = unbroken.advance(STEPS)
    resumed = ensemble_of(make_spec(), (0, 1), stacked=stacked)
    resumed.load(7, saved)
    assert resumed.advance(STEPS) == expected
    for member, state in unbroken.state().items():
        assert all(np.array_equal(resumed.state()[member][name], value) for name, value in state.items())


def test_nothing_is_dropped_in_an_evaluation() -> None:
    dropping, whole = ensemble_of(make_spec(dropout=0.9), (3,)), ensemble_of(make_spec(dropout=0.0), (3,))
    dropping.advance(3)
    whole.load(3, dropping.state())
    (one,), (other,) = dropping.evaluate().values(), whole.evaluate().values()
    assert np.array_equal(one.loss, other.loss)
    assert np.array_equal(one.pattern, other.pattern)


def test_masks_and_moments_count_as_memory_and_an_mlp_that_is_left_out_does_not() -> None:
    batch = [estimate_memory(make_spec(dropout=rate), 2)["training.batch_sequences"] for rate in (0.0, RATE)]
    assert batch[1] - batch[0] == 2 * draw_kept(make_spec(), 0, 0).size * 5  # a draw of 4 bytes, an answer of 1
    sgd, adamw, muon = (
        estimate_memory(make_spec(optimizer=name), 2)["model.d_model"] for name in ("sgd", "adamw", "muon")
    )
    assert sgd < adamw < muon
    values = make_spec().model_dump()
    values["model"]["d_mlp"] = 0
    assert estimate_memory(RunSpec(**values), 2)["model.d_model"] < adamw
