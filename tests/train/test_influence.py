"""The influence map: zero for the future, and the truth for a model that computes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from saltus import api
from saltus.models.build import build_model
from saltus.seeding import Streams
from saltus.specs import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec
from saltus.specs.models import MODELS
from saltus.tasks.linear_map import LinearMap
from saltus.train.ensemble import Ensemble, list_members
from saltus.train.influence import measure_influence

TASK = LinearMap(LinearMapSpec(size=6, sparsity=2), np.random.default_rng(3))
KINDS = [kind for kind in MODELS if kind != "custom"]


def describe(kind: str) -> dict[str, Any]:
    """A small model of a kind."""
    heads = {"heads": 2} if kind in ("transformer", "gated_delta_net", "mlstm", "linear_attention") else {}
    return {"kind": kind, "layers": 2, "d_model": 16, "d_mlp": 24, **heads}


def make_run(kind: str, **training: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "name": kind,
            "task": {"kind": "linear_map", "size": 6, "sparsity": 2},
            "model": describe(kind),
            "training": {"steps": 10, "batch_sequences": 8, "compile": False, "evaluation_sequences": 16} | training,
            "seeds": 2,
        }
    )


class Solver(torch.nn.Module):
    """Predicts the next output of the map with certainty, from the true keys alone, and the first state at chance."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(2, 1)
        self.truth = torch.from_numpy(TASK.facts.truth).float()

    def forward(self, tokens: Tensor, bias: None) -> Tensor:
        parity = (tokens.float() @ self.truth.T) % 2  # [n, q]
        logits = 50.0 * (F.one_hot(parity.long(), 2) - 0.5)
        return torch.where(torch.from_numpy(TASK.facts.scored)[:, None], logits, torch.zeros_like(logits))


def test_of_a_model_that_computes_the_map_it_is_the_truth() -> None:
    tokens = torch.from_numpy(TASK.sample(np.random.default_rng(0), 64))
    model: Any = Solver()
    influence = measure_influence(model, dict(model.named_parameters()), tokens, None, np.random.default_rng(1))
    np.testing.assert_allclose(influence, TASK.facts.truth, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_no_architecture_is_moved_by_the_future_and_each_is_by_the_past(kind: str) -> None:
    spec = make_run(kind)
    model = build_model(spec.model, TASK.facts, init_seed=1)
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.3, generator=torch.Generator().manual_seed(2))
    tokens = torch.from_numpy(TASK.sample(np.random.default_rng(0), 32))
    influence = measure_influence(model, dict(model.named_parameters()), tokens, None, np.random.default_rng(1))
    later = np.triu(np.ones_like(influence, dtype=bool), 1)
    assert not influence[later].any()
    assert (np.diag(influence) > 0).all()
    assert (np.diag(influence, -3) > 0).all()  # a kernel of four reaches so far


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_trains_alone_and_stacked_alike(kind: str) -> None:
    spec = make_run(kind)
    alone, stacked = (
        Ensemble([spec], list_members([spec]), torch.device("cpu"), stacked=stacked) for stacked in (False, True)
    )
    first, second = alone.advance(10), stacked.advance(10)
    for member, loss in first.items():
        assert second[member] == pytest.approx(loss, rel=1e-4)
    assert len({*first.values()}) == 2
    for evaluation in alone.evaluate().values():
        assert np.isfinite(evaluation.loss).all()
        assert len(evaluation.pattern) == spec.model.layers * bool(spec.model.attention_heads)


def test_a_planted_leak_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions mixed by a reshape, as in a public replication: [n, h, q, d] read as [n, q, h*d]."""
    from saltus.models.mixers.attention import Attention

    spec = RunSpec.model_validate(
        make_run("transformer").model_dump() | {"training": TrainingSpec(steps=1, batch_sequences=2)}
    )
    model = build_model(spec.model, TASK.facts, init_seed=1)

    def merge_wrongly(self: Attention, mixed: Tensor) -> Tensor:
        return self.output(mixed.reshape(len(mixed), mixed.shape[2], -1))

    monkeypatch.setattr(Attention, "merge", merge_wrongly)
    tokens = torch.from_numpy(TASK.sample(np.random.default_rng(0), 32))
    influence = measure_influence(model, dict(model.named_parameters()), tokens, None, np.random.default_rng(1))
    assert influence[np.triu(np.ones_like(influence, dtype=bool), 1)].any()


def test_a_run_records_influence_at_its_snapshots_and_at_its_end(
    tmp_path: Path, in_this_process: None, saltus: Callable[..., tuple[int, str, str]]
) -> None:
    spec = make_run(
        "linear_rnn",
        influence=True,
        steps=25,
        evaluate=ScheduleSpec(every=5),
        snapshot=ScheduleSpec(every=10),
        checkpoint=ScheduleSpec(every=5),
    )
    folder = api.run(spec, out=tmp_path, device="cpu")
    records = folder.records()
    influence = records.snapshots.influence  # [snapshot, seed, query, key]
    assert records.snapshots.steps.tolist() == [0, 1, 2, 4, 8, 10, 20, 25]
    assert influence.shape == (8, 2, 11, 11)
    assert records.snapshots.attention.shape[2:4] == (0, 0)
    assert records.future_influence == 0.0
    weights = {name: torch.from_numpy(value) for name, value in folder.weights(25, seed=1).items()}
    streams = Streams(spec.master_seed)
    task = LinearMap(LinearMapSpec(size=6, sparsity=2), streams.generator("task"))
    tokens = torch.from_numpy(task.sample(streams.generator("evaluation"), 16))
    model = build_model(spec.model, task.facts, init_seed=0)
    expected = measure_influence(model, weights, tokens, None, streams.generator("influence"))
    np.testing.assert_allclose(influence[-1, 1], expected, atol=1e-6)
    assert saltus("report", folder.path, "--to", tmp_path / "report.html")[0] == 0
    page = (tmp_path / "report.html").read_text()
    assert "What it looks at" in page
    assert "when the tokens that move it become the true ones" in page


def test_where_it_is_not_asked_for_there_is_none(tmp_path: Path, in_this_process: None) -> None:
    records = api.run(make_run("linear_rnn"), out=tmp_path, device="cpu").records()
    assert records.future_influence is None
    assert len(records.snapshots.steps) == 0
