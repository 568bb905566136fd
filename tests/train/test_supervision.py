"""Supervision of attention: the divergence that is added to the loss, its gradient, and what it does to training."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import (
    AssociativeRecallSpec,
    BiasSpec,
    ClampSpec,
    LinearMapSpec,
    MultiQueryRecallSpec,
    RunSpec,
    SupervisionSpec,
    TemperatureSpec,
    TrainingSpec,
    TransformerSpec,
)
from saltus.specs.kinds import find_class
from saltus.tasks.base import Task, TaskFacts, find_order
from saltus.tasks.build import build_task_of
from saltus.train.ensemble import Ensemble, Member, list_members
from saltus.train.interventions.several import build_interventions

CPU = torch.device("cpu")
MAP = LinearMapSpec(size=5, sparsity=2)
RECALL = AssociativeRecallSpec(pairs=3, queries=2, keys=5, values=4)
MOVING = MultiQueryRecallSpec(pairs=2, length=12, keys=5, values=4)
"""Asks at other places in each sequence."""


def make(*interventions: Any, task: Any = MAP, seeds: int = 1, batch: int = 32) -> RunSpec:
    """Two layers of two heads."""
    return RunSpec(
        task=task,
        model=TransformerSpec(layers=2, d_model=16, heads=2, d_mlp=24),
        training=TrainingSpec(
            steps=80, batch_sequences=batch, learning_rate=3e-3, warmup=0, compile=False, evaluation_sequences=64
        ),
        intervention=interventions,
        seeds=seeds,
    )


def open_ensemble(spec: RunSpec, *, stacked: bool = False) -> Ensemble:
    torch.set_num_threads(1)
    return Ensemble([spec], list_members([spec]), CPU, stacked=stacked)


def open_lane(ensemble: Any) -> Any:
    """Its first lane, whose weights and batches are looked at."""
    return ensemble._lanes[0]


class Added:
    """What a run's interventions add to its first loss."""

    def __init__(self, spec: RunSpec) -> None:
        self.lane = open_lane(open_ensemble(spec))
        self.task: Task = build_task_of(spec, 0)
        self.tokens, self.flat = self.lane._batch(0)[0], self.lane._parameters[0]
        bias = self.lane._find_bias()
        self.bias = None if bias is None else bias[0]
        function = build_interventions(spec, self.task).loss(0, self.lane._program.model, self.tokens, self.bias)
        assert function is not None
        self.function = function

    def value(self, flat: torch.Tensor | None = None) -> float:
        return float(self.function(self.lane._program.unflatten(self.flat if flat is None else flat)))

    def patterns(self, count: int) -> NDArray[np.float64]:
        """[sequence, layer, head, query, key] of the first sequences."""
        model, weights = self.lane._program.model, self.lane._program.unflatten(self.flat)
        model.load_state_dict(weights)
        with torch.no_grad():
            _, patterns = model.forward_with_patterns(self.tokens[:count, :-1].long(), self.bias)
        return torch.stack(patterns, 1).double().numpy()


def diverge(task: Task, added: Added, count: int, *, shift: int = 0) -> NDArray[np.float64]:
    """[layer, head, unit] the mean divergence, written out key by key; of the truth of the sequence so much further."""
    tokens = added.tokens.numpy()
    own, other = (np.roll(tokens, -by, 0)[:count] for by in (0, shift))
    truth, patterns = task.truth_of(other), added.patterns(count)
    places, theirs = (find_order(task, each) for each in (own, other))
    facts, total = task.facts, np.zeros((2, 2, len(task.facts.units)))
    for unit in range(len(facts.units)):
        queries = np.flatnonzero(facts.unit_of_query == unit)
        for n in range(count):
            for query in queries:
                here, there = (query if order is None else order[n, query] for order in (places, theirs))
                keys = np.flatnonzero(truth[n, there])
                for key in keys:
                    total[..., unit] += np.log(1 / len(keys) / patterns[n, :, :, here, key]) / len(keys)
        total[..., unit] /= count * len(queries)
    return total


@pytest.mark.parametrize("task", [MAP, RECALL, MOVING], ids=["map", "recall", "other places in each sequence"])
def test_what_is_added_is_the_divergence_of_the_truth_from_the_pattern(task: Any) -> None:
    helped = [BiasSpec(strength=0.5)] if task is MAP else []
    spec = SupervisionSpec(weight=0.5, share=0.25)
    best, every = (Added(make(spec.model_copy(update={"match": m}), *helped, task=task)) for m in ("best", "all"))
    divergence = diverge(best.task, best, 8)
    assert best.value() == pytest.approx(0.5 * divergence.min((0, 1)).mean(), rel=1e-5)
    assert every.value() == pytest.approx(0.5 * divergence.mean(), rel=1e-5)


def test_even_attention_is_as_far_from_the_truth_as_theory_says() -> None:
    """ln(k / s): k keys that a query sees, s of which it needs."""
    spec = make(SupervisionSpec(weight=1.0, units=(3,)), TemperatureSpec(factor=0.0))
    added = Added(spec)
    factors = open_lane(open_ensemble(spec))._find_factors()[0]
    (query,) = np.flatnonzero(added.task.facts.unit_of_query == 3)
    assert added.value(added.flat * factors) == pytest.approx(np.log((query + 1) / 2), rel=1e-5)


def test_only_the_chosen_heads_and_layers_are_supervised() -> None:
    added = Added(make(SupervisionSpec(weight=1.0, match="all", layers=(1,), heads=(0,), share=1 / 32)))
    assert added.value() == pytest.approx(diverge(added.task, added, 1)[1, 0].mean(), rel=1e-5)


@pytest.mark.parametrize(("match", "task"), [("best", MAP), ("all", MAP), ("best", RECALL)])
def test_its_gradient_is_the_slope(match: Any, task: Any) -> None:
    added = Added(make(SupervisionSpec(weight=2.0, match=match, share=0.25), task=task))
    gradient = added.lane._program.differentiate(added.function, added.flat, None)
    generator = torch.Generator().manual_seed(0)
    for way in (gradient / gradient.norm(), torch.randn(len(gradient), generator=generator)):
        small = 3e-3 / float(way.norm())
        slope = (added.value(added.flat + small * way) - added.value(added.flat - small * way)) / (2 * small)
        assert float(gradient @ way) == pytest.approx(slope, rel=2e-2, abs=1e-3 * float(way.norm()))


def flatten(ensemble: Ensemble) -> NDArray[np.float32]:
    return np.concatenate([value.ravel() for value in ensemble.state()[Member(0, 0)].values()])


@pytest.mark.parametrize("nothing", [SupervisionSpec(weight=0.0), SupervisionSpec(weight=0.0, toward="placebo")])
def test_without_weight_it_has_exactly_no_effect(nothing: SupervisionSpec) -> None:
    plain, supervised = open_ensemble(make()), open_ensemble(make(nothing))
    for ensemble in (plain, supervised):
        ensemble.advance(8)
    np.testing.assert_array_equal(flatten(plain), flatten(supervised))


def train(*interventions: Any) -> float:
    """The mass on the true keys of the best head, mean over the units' queries."""
    spec = make(*interventions)
    ensemble = open_ensemble(spec)
    ensemble.advance(80)
    (found,) = ensemble.evaluate().values()
    return float(found.truth_mass[:, :, build_task_of(spec, 0).facts.scored].max((0, 1)).mean())


def test_heads_come_to_attend_to_the_truth_and_with_the_placebo_they_do_not() -> None:
    truth, placebo, none = (
        train(*helped)
        for helped in ([SupervisionSpec(weight=3.0)], [SupervisionSpec(weight=3.0, toward="placebo")], [])
    )
    assert truth > none + 0.3
    assert placebo < none + 0.1


SUPERVISED = [SupervisionSpec(weight=1.0, schedule="linear", until=9), BiasSpec(strength=2.0, until=5)]


@pytest.mark.parametrize("stacked", [False, True])
def test_seeds_are_themselves_alone_together_and_resumed(stacked: bool) -> None:
    spec = make(*SUPERVISED, seeds=2)
    unbroken = open_ensemble(spec, stacked=stacked)
    unbroken.advance(6)
    saved = unbroken.state()
    expected = unbroken.advance(12)
    resumed = open_ensemble(spec, stacked=stacked)
    resumed.load(6, saved)
    assert resumed.advance(12) == expected
    alone = Ensemble([spec], [Member(0, 1)], CPU, stacked=False)
    alone.advance(6)
    own = alone.advance(12)[Member(0, 1)]
    assert expected[Member(0, 1)] == (pytest.approx(own, rel=1e-5) if stacked else own)


def test_where_the_truth_varies_the_placebo_is_that_of_the_next_sequence() -> None:
    added = Added(make(SupervisionSpec(weight=1.0, toward="placebo", match="all", share=0.25), task=RECALL))
    assert added.value() == pytest.approx(diverge(added.task, added, 8, shift=1).mean(), rel=1e-5)
    with pytest.raises(SaltusError, match=r"a batch has one sequence; .* take 2 sequences or more"):
        Added(make(SupervisionSpec(weight=1.0, toward="placebo"), task=RECALL, batch=1))


def test_a_task_without_a_known_truth_is_refused() -> None:
    class Unknown:
        facts = TaskFacts.of(symbols=2, length=4, units={"last": [2]})

    for spec in (SupervisionSpec(weight=1.0), BiasSpec(strength=1.0), ClampSpec()):
        with pytest.raises(SaltusError, match="which keys this task needs is not known"):
            find_class(spec.builds)(spec, TransformerSpec(), Unknown(), np.random.default_rng(0))
