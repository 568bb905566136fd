"""Repetition: a pool comes back as often as it should, its placebo never does, and nothing else changes."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from saltus.specs import LinearMapSpec, MultiQueryRecallSpec, RepeatSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.tasks.base import find_order
from saltus.tasks.build import build_task_of
from saltus.train.ensemble import Ensemble, list_members
from saltus.train.interventions.several import build_interventions
from saltus.train.program import Inputs, Program

BATCH = 64


def make(*interventions: RepeatSpec, seeds: int = 1) -> RunSpec:
    return RunSpec(
        task=LinearMapSpec(size=10, sparsity=2),
        model=TransformerSpec(d_model=16, heads=2, d_mlp=16),
        training=TrainingSpec(steps=20, batch_sequences=BATCH, warmup=0, compile=False, evaluation_sequences=16),
        intervention=interventions,
        seeds=seeds,
    )


def count_sequences(spec: RunSpec, steps: int = 20) -> tuple[Counter[bytes], float]:
    """How often each sequence came in so many batches, and the share that is not as the task drew it."""
    task = build_task_of(spec, 0)
    whole = build_interventions(spec, task)
    seen: Counter[bytes] = Counter()
    changed: list[float] = []
    for step in range(steps):
        drawn = torch.from_numpy(task.sample(np.random.default_rng(step), BATCH))
        batch = whole.data(step, drawn, np.random.default_rng([1, step]))
        assert batch.dtype == drawn.dtype
        assert np.array_equal(batch[:, 10:].numpy(), batch[:, :10].numpy() @ task.map.T % 2)  # type: ignore[attr-defined]
        changed.append(float((batch != drawn).any(1).float().mean()))
        seen.update(row.tobytes() for row in batch.numpy())
    return seen, float(np.mean(changed))


def test_the_pool_comes_back_with_its_probability_and_the_placebo_does_not() -> None:
    seen, changed = count_sequences(make(RepeatSpec(sequences=4, probability=0.5)))
    often = [times for times in seen.values() if times > 50]
    assert len(often) == 4
    assert abs(sum(often) / (20 * BATCH) - 0.5) < 0.05  # four standard deviations of 1,280 draws
    assert abs(changed - 0.5) < 0.06
    seen, changed = count_sequences(make(RepeatSpec(sequences=4, probability=0.5, source="fresh")))
    assert max(seen.values()) < 12  # of 1,024 different ones
    assert abs(changed - 0.5) < 0.06


def test_it_ends_and_at_probability_zero_it_is_nothing() -> None:
    short = make(RepeatSpec(sequences=4, probability=1.0, until=3))
    whole = build_interventions(short, build_task_of(short, 0))
    drawn = torch.from_numpy(build_task_of(short, 0).sample(np.random.default_rng(0), BATCH))
    assert not torch.equal(whole.data(2, drawn, np.random.default_rng(1)), drawn)
    assert torch.equal(whole.data(3, drawn, np.random.default_rng(1)), drawn)
    assert torch.equal(advance(make(RepeatSpec(sequences=4, probability=0.0)), 5), advance(make(), 5))
    assert not torch.equal(advance(make(RepeatSpec(sequences=4, probability=0.5)), 5), advance(make(), 5))


def test_a_batch_follows_from_the_step_alone() -> None:
    """Resumed in the middle, and with another seed beside it, the weights are the same bit by bit."""
    spec = make(RepeatSpec(sequences=4, probability=0.5))
    whole = open_ensemble(spec)
    whole.advance(4)
    again = open_ensemble(spec)
    again.load(4, whole.state())
    whole.advance(8)
    again.advance(8)
    assert torch.equal(read(whole), read(again))
    assert torch.equal(advance(make(*spec.interventions, seeds=2), 8), read(whole))  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["pool", "fresh"])
def test_each_seed_has_a_choice_of_its_own(source: Any) -> None:
    """Seeds that were given the same sequences at the same steps would not be independent."""
    ensemble: Any = open_ensemble(make(RepeatSpec(sequences=1000, probability=1.0, source=source), seeds=2))
    one, other = (lane._exchange(lane._cells[0], lane._members[0], lane._batch(3)[0]) for lane in ensemble._lanes)
    assert (one == other).all(1).float().mean() < 0.1  # of 1,024 different ones


def open_ensemble(spec: RunSpec) -> Ensemble:
    torch.set_num_threads(1)
    return Ensemble([spec], list_members([spec]), torch.device("cpu"), stacked=False)


def read(ensemble: Any) -> torch.Tensor:
    """The weights of the first seed."""
    return ensemble._lanes[0]._parameters


def advance(spec: RunSpec, steps: int) -> torch.Tensor:
    ensemble = open_ensemble(spec)
    ensemble.advance(steps)
    return read(ensemble)


def test_predictions_are_weighed_by_the_sequences_that_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec(
        task=MultiQueryRecallSpec(pairs=2, keys=4, values=4, length=16),
        model=TransformerSpec(d_model=8, heads=2),
        training=TrainingSpec(steps=5, batch_sequences=8, compile=False, loss="scored"),
        intervention=(RepeatSpec(sequences=4, probability=1.0),),
        seeds=1,
    )
    trained, task = list[Tensor](), build_task_of(spec, 0)
    gradient = Program.gradient

    def check(self: Program, parameters: Tensor, tokens: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        order = find_order(task, tokens[0].numpy())
        assert order is not None
        assert inputs.weights is not None
        assert torch.equal(inputs.weights[0], self.weigh(order))
        trained.append(tokens)
        return gradient(self, parameters, tokens, inputs)

    monkeypatch.setattr(Program, "gradient", check)
    Ensemble([spec], list_members([spec]), torch.device("cpu"), stacked=False).advance(2)
    assert len({row.numpy().tobytes() for tokens in trained for row in tokens[0]}) <= 4  # the pool's
