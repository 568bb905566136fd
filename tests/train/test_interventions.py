"""A bias on attention: toward what, where, for how long, and what it does to training."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.models.decoder import Decoder
from saltus.specs import (
    BiasSpec,
    CellularAutomatonSpec,
    InductionSpec,
    LinearMapSpec,
    RunSpec,
    TrainingSpec,
    TransformerSpec,
    interventions,
)
from saltus.specs.interventions import BaseInterventionSpec
from saltus.tasks.base import Task, TaskFacts
from saltus.tasks.cellular_automaton import CellularAutomaton
from saltus.tasks.induction import Induction
from saltus.tasks.linear_map import LinearMap
from saltus.train.ensemble import Ensemble, list_members
from saltus.train.interventions.base import Intervention
from saltus.train.interventions.bias import Bias
from saltus.train.interventions.keys import draw_placebo
from saltus.train.program import Inputs

MODEL = TransformerSpec(layers=2, d_model=16, heads=4)


def draw() -> np.random.Generator:
    return np.random.default_rng(7)


def build_bias(spec: BiasSpec, task: Task, step: int = 0) -> NDArray[np.float32]:
    """What it adds to attention logits at a step, [layer, head, query, key]."""
    return Bias(spec, MODEL, task, draw()).logits(step).numpy()


@pytest.fixture
def task() -> LinearMap:
    return LinearMap(LinearMapSpec(size=6, sparsity=2, states=3), np.random.default_rng(0))


def test_the_bias_is_c_times_the_truth_in_every_layer_and_head(task: LinearMap) -> None:
    bias, truth = build_bias(BiasSpec(strength=3.5), task), task.facts.truth
    np.testing.assert_array_equal(np.broadcast_to(bias, (2, 4, *truth.shape))[1, 2], 3.5 * truth)
    blocked = build_bias(BiasSpec(strength=3.5, toward="blocked"), task)
    np.testing.assert_array_equal(blocked, -bias)


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", [8, 8, 8, 0, 0]), ("linear", [8, 6, 4, 0, 0]), ("cosine", None)]
)
def test_a_bias_goes_to_zero_by_its_schedule(task: LinearMap, schedule: Any, expected: list[float] | None) -> None:
    spec = BiasSpec(strength=8.0, schedule=schedule, until=20)
    found = [float(build_bias(spec, task, step).max()) for step in (0, 5, 10, 20, 99)]
    assert found == pytest.approx(expected or [8, 4 + 4 * np.cos(np.pi / 4), 4, 0, 0])


def test_a_schedule_without_an_end_is_refused() -> None:
    with pytest.raises(SaltusError, match=r"schedule is 'linear' and until is not given"):
        BiasSpec(strength=1.0, schedule="linear")


def test_chosen_layers_heads_units_and_keys(task: LinearMap) -> None:
    facts = task.facts
    spec = BiasSpec(strength=1.0, layers=(1,), heads=(0, 3), units=(2, 5), keys=1)
    bias = build_bias(spec, task)
    assert bias.shape == (2, 4, *facts.truth.shape)
    assert not bias[0].any()
    assert not bias[1, [1, 2]].any()
    np.testing.assert_array_equal(bias[1, 0], bias[1, 3])
    biased = np.flatnonzero(bias[1, 0].any(axis=1))
    assert set(facts.unit_of_query[biased]) == {2, 5}
    assert (bias[1, 0][biased].sum(axis=1) == 1).all()
    assert ((bias[1, 0] > 0) <= facts.truth).all()


@pytest.mark.parametrize(
    "facts",
    [
        LinearMap(LinearMapSpec(size=6, sparsity=2, states=3), np.random.default_rng(0)).facts,
        CellularAutomaton(CellularAutomatonSpec(size=7, symbols=2, states=4, rules=3), np.random.default_rng(0)).facts,
    ],
    ids=["linear map", "automaton"],
)
def test_a_placebo_is_as_sparse_and_wrong_and_the_same_in_every_state(facts: TaskFacts) -> None:
    placebo = draw_placebo(facts, draw())
    np.testing.assert_array_equal(placebo.sum(axis=1), facts.truth.sum(axis=1))
    assert not (placebo & facts.truth).any()
    assert not (placebo & ~facts.candidates).any()
    for unit in range(len(facts.units)):
        rows = np.flatnonzero(facts.unit_of_query == unit)
        places = [np.flatnonzero(placebo[row]) - np.flatnonzero(facts.candidates[row])[0] for row in rows]
        assert all(np.array_equal(place, places[0]) for place in places)


@pytest.mark.parametrize("truth", [{3: [0, 1], 4: [2, 3]}, {4: [0], 5: [0, 1, 2]}, {5: [2, 3], 2: [0]}])
def test_a_placebo_of_a_unit_whose_queries_differ_is_drawn_for_each(truth: dict[int, list[int]]) -> None:
    facts = TaskFacts.of(symbols=2, length=7, units={"both": list(truth)}, truth=truth)
    placebo = draw_placebo(facts, draw())
    np.testing.assert_array_equal(placebo.sum(axis=1), facts.truth.sum(axis=1))
    assert not (placebo & ~facts.candidates).any()
    assert not (placebo & facts.truth).any()


def test_a_dense_placebo_takes_true_keys_only_where_there_are_too_few_others() -> None:
    facts = LinearMap(LinearMapSpec(size=6, sparsity=4), np.random.default_rng(0)).facts
    placebo = draw_placebo(facts, draw())
    assert ((placebo & facts.truth).sum(axis=1)[facts.scored] == 2).all()  # 4 keys, 2 of 6 are wrong ones


def test_a_unit_that_is_not_there_is_refused(task: LinearMap) -> None:
    with pytest.raises(SaltusError, match=r"intervention\.units names 6; the task has the units 0 to 5"):
        build_bias(BiasSpec(strength=1.0, units=(6,)), task)


@pytest.mark.parametrize("toward", ["truth", "placebo"])
def test_a_truth_that_varies_is_no_bias(toward: Literal["truth", "placebo"]) -> None:
    task = Induction(InductionSpec(symbols=9, length=10, shortest=5, longest=7))
    with pytest.raises(SaltusError, match="true keys of this task vary from sequence to sequence"):
        build_bias(BiasSpec(strength=1.0, toward=toward), task)


@pytest.mark.parametrize(("name", "index"), [("layers", 1), ("heads", 2)])
def test_a_layer_or_head_that_is_not_there_is_refused(name: str, index: int) -> None:
    with pytest.raises(SaltusError, match=f"intervention.{name} names {index}; the model has {name} 0 to {index - 1}"):
        make_run(BiasSpec.model_validate({"strength": 1.0, name: (index,)}))


def make_run(bias: Any, steps: int = 200) -> RunSpec:
    """A small map, which in so many steps is learned with the truth as a bias alone."""
    return RunSpec(
        name="biased",
        task=LinearMapSpec(size=8, sparsity=3),
        model=TransformerSpec(layers=1, d_model=32, heads=2, d_mlp=64),
        training=TrainingSpec(
            steps=steps, batch_sequences=64, learning_rate=3e-3, warmup=10, compile=False, evaluation_sequences=256
        ),
        intervention=bias,
        seeds=1,
    )


def train(*biases: Any, steps: int = 200) -> list[float]:
    """Trained one after the other: the accuracy over the scored queries."""
    torch.set_num_threads(1)
    found: list[float] = []
    for bias in biases:
        spec = make_run(bias, steps)
        ensemble = Ensemble([spec], list_members([spec]), torch.device("cpu"), stacked=False)
        ensemble.advance(steps)
        (evaluation,) = ensemble.evaluate().values()
        found.append(float(evaluation.accuracy[7:].mean()))
    return found


def test_the_truth_as_a_bias_removes_the_search_and_a_wrong_map_does_not() -> None:
    truth, placebo, none = train(BiasSpec(strength=10.0), BiasSpec(strength=10.0, toward="placebo"), None)
    assert truth > 0.95
    assert max(placebo, none) < 0.8


def test_blocked_keys_make_the_task_impossible_where_the_same_seeds_learn_it_with_help() -> None:
    (blocked,) = train(BiasSpec(strength=100.0, toward="blocked"))
    assert blocked == pytest.approx(0.5, abs=0.05)  # two symbols; with the truth these seeds come to over 0.95


def test_released_attention_is_evaluated_and_trained_without_the_bias() -> None:
    steps = 12
    kept, released, until_the_end = (BiasSpec(strength=10.0, until=until) for until in (None, 6, steps + 1))
    spec, other = make_run(released, steps), make_run(until_the_end, steps)
    ensembles = [Ensemble([s], list_members([s]), torch.device("cpu"), stacked=False) for s in (spec, other)]
    for ensemble in ensembles:
        ensemble.advance(5)
    first, second = (next(iter(ensemble.evaluate().values())) for ensemble in ensembles)
    np.testing.assert_array_equal(first.pattern, second.pattern)
    for ensemble in ensembles:
        ensemble.advance(6)
    first, second = (next(iter(ensemble.evaluate().values())) for ensemble in ensembles)
    truth = LinearMap(LinearMapSpec(size=8, sparsity=3), np.random.default_rng(0)).facts.scored
    assert second.pattern[0, :, truth].max(-1).mean() > 0.25  # a third each on three true keys
    assert first.pattern[0, :, truth].max(-1).mean() < 0.25
    assert train(kept, until_the_end, steps=steps)[0] == train(kept, until_the_end, steps=steps)[1]


class Halved(Intervention):
    """Trains on the second half of each batch in place of the first, and pulls weights toward 1."""

    def data(self, step: int, tokens: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        half = len(tokens) // 2
        return torch.cat([tokens[half:], tokens[half:]])

    def loss(
        self, step: int, model: Decoder, tokens: torch.Tensor, bias: torch.Tensor | None
    ) -> Callable[[dict[str, torch.Tensor]], torch.Tensor] | None:
        if step < 3:
            return None
        return lambda weights: 0.5 * torch.cat([value.flatten() - 1.0 for value in weights.values()]).square().sum()


class HalvedSpec(BaseInterventionSpec):
    builds: ClassVar[str] = "tests.train.test_interventions:Halved"
    kind: Literal["halved"] = "halved"


def open_lane(ensemble: Any) -> Any:
    """Its first lane, whose parameters and gradients are looked at."""
    return ensemble._lanes[0]


def test_an_intervention_of_another_kind_changes_data_and_loss_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(interventions.INTERVENTIONS, "halved", HalvedSpec)
    spec = make_run(None).model_copy(update={"intervention": HalvedSpec()})
    assert spec.content_hash != make_run(None).content_hash
    assert RunSpec(**spec.model_dump()) == spec
    other = make_run(None)
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, each, step in (("with", spec, 0), ("without", other, 0), ("late", spec, 3), ("late without", other, 3)):
        ensemble = Ensemble([each], list_members([each]), torch.device("cpu"), stacked=False)
        program, gradient = ensemble.program, ensemble.program.gradient
        watched: list[tuple[torch.Tensor, torch.Tensor]] = []

        def watch(
            parameters: torch.Tensor,
            tokens: torch.Tensor,
            inputs: Inputs,
            gradient: Any = gradient,
            watched: Any = watched,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            assert inputs == Inputs()
            found = gradient(parameters, tokens, inputs)
            watched.append((tokens.clone(), found[0]))  # what is added to the loss is added to this gradient in place
            return found

        monkeypatch.setattr(program, "gradient", watch)
        lane = open_lane(ensemble)
        ensemble.load(step, ensemble.state()) if step else None
        before = lane._parameters.clone()
        ensemble.advance(step + 1)
        tokens, whole = watched[0]
        seen[name] = tokens, whole - gradient(before, tokens, Inputs())[0]
    half = len(seen["without"][0][0]) // 2
    torch.testing.assert_close(seen["with"][0][:, half:], seen["without"][0][:, half:], rtol=0, atol=0)
    torch.testing.assert_close(seen["with"][0][:, :half], seen["without"][0][:, half:], rtol=0, atol=0)
    for name in ("with", "without", "late without"):
        assert not seen[name][1].any()
    pulled = seen["late"][1]
    spec_start = Ensemble([spec], list_members([spec]), torch.device("cpu"), stacked=False)
    torch.testing.assert_close(pulled, open_lane(spec_start)._parameters - 1.0)  # the gradient of what was added


def test_seeds_that_train_stacked_share_nothing_of_an_intervention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(interventions.INTERVENTIONS, "halved", HalvedSpec)
    spec = make_run(None).model_copy(update={"intervention": HalvedSpec(), "seeds": 2})
    losses = []
    for stacked in (True, False):
        ensemble = Ensemble([spec], list_members([spec]), torch.device("cpu"), stacked=stacked)
        ensemble.advance(6)
        losses.append([float(evaluation.loss.mean()) for evaluation in ensemble.evaluate().values()])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
