"""Interventions that change what the model computes: temperature, clamp, several at once; and evaluation without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saltus.api import run
from saltus.errors import SaltusError
from saltus.report.run.summary import describe_free, summarise
from saltus.specs import (
    BiasSpec,
    ClampSpec,
    LinearMapSpec,
    MambaSpec,
    RunSpec,
    TemperatureSpec,
    TrainingSpec,
    TransformerSpec,
)
from saltus.tasks.base import TaskFacts
from saltus.tasks.build import read_facts
from saltus.train.ensemble import Ensemble, Member, list_members
from saltus.train.evaluation import Evaluation
from saltus.train.program import Inputs
from saltus.train.state import MOMENTS

CPU = torch.device("cpu")
STEPS = 12


def make(*interventions: Any, seeds: int = 2, name: str = "run") -> RunSpec:
    """Two layers of two heads that learn a small map for a few steps."""
    return RunSpec(
        name=name,
        task=LinearMapSpec(size=5, sparsity=2),
        model=TransformerSpec(layers=2, d_model=16, heads=2, d_mlp=24),
        training=TrainingSpec(
            steps=STEPS, batch_sequences=16, learning_rate=1e-2, warmup=0, compile=False, evaluation_sequences=16
        ),
        intervention=interventions,
        seeds=seeds,
    )


def open_ensemble(*specs: RunSpec, stacked: bool = False) -> Ensemble:
    torch.set_num_threads(1)
    return Ensemble(specs, list_members(specs), CPU, stacked=stacked)


def open_lane(ensemble: Any) -> Any:
    """Its first lane, whose inputs are looked at."""
    return ensemble._lanes[0]


def evaluate(*interventions: Any, steps: int = 0) -> Evaluation:
    """Seed 0 after so many steps."""
    ensemble = open_ensemble(make(*interventions, seeds=1))
    ensemble.advance(steps)
    return ensemble.evaluate()[Member(0, 0)]


@pytest.fixture(scope="module")
def facts() -> TaskFacts:
    return read_facts(make())


def flatten(state: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([value.ravel() for value in state.values()])


def test_a_factor_on_queries_is_one_on_attention_logits_of_the_chosen_heads() -> None:
    helped = TemperatureSpec(factor=30.0, layers=(0,), heads=(1,))
    ensembles = [open_ensemble(make(*each, seeds=1)) for each in ([], [helped])]
    for ensemble in ensembles:
        open_lane(ensemble)._cells[0].evaluation_tokens = torch.zeros(
            (1, 10), dtype=torch.uint8
        )  # one pattern, no mean
    plain, scaled = (ensemble.evaluate()[Member(0, 0)].pattern for ensemble in ensembles)
    expected = plain[0, 1].astype(np.float64) ** 30  # softmax(30 x) = softmax(x)**30, normalised
    np.testing.assert_allclose(scaled[0, 1], expected / expected.sum(-1, keepdims=True), rtol=2e-4)
    assert np.abs(scaled[0, 1] - plain[0, 1]).max() > 0.01
    np.testing.assert_array_equal(scaled[0, 0], plain[0, 0])


def test_a_temperature_goes_from_its_first_to_its_last_factor() -> None:
    even = evaluate(TemperatureSpec(factor=0.0, until=4))
    earlier = np.tri(even.pattern.shape[-1])
    expected = np.broadcast_to(earlier / earlier.sum(1, keepdims=True), even.pattern.shape)
    np.testing.assert_allclose(even.pattern, expected, rtol=1e-6)
    spec = TemperatureSpec(factor=0.0, last=2.0, schedule="linear", until=4)
    assert [spec.anneal(spec.factor, spec.last, step) for step in range(6)] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]


def test_the_placebo_of_a_temperature_is_as_strong_and_moves_no_pattern_of_its_layer() -> None:
    plain, placebo = evaluate(), evaluate(TemperatureSpec(factor=5.0, rows="values"))
    np.testing.assert_array_equal(placebo.pattern[0], plain.pattern[0])
    assert not np.array_equal(placebo.loss, plain.loss)


@pytest.mark.parametrize("stacked", [False, True])
def test_the_gradient_goes_through_the_factors(stacked: bool) -> None:
    """d/dw of L(f w) is f times L' at f w; L' is that of a program without factors."""
    with_factors, without = make(TemperatureSpec(factor=0.3)), make()
    one, other = (open_ensemble(spec, stacked=stacked) for spec in (with_factors, without))
    lane = open_lane(one)
    tokens, factors, parameters = lane._batch(0), lane._find_factors(), lane._parameters
    assert factors.unique().tolist() == pytest.approx([0.3, 1.0])
    gradient, loss = one.program.gradient(parameters, tokens, Inputs(factors=factors))
    expected, same = other.program.gradient(parameters * factors, tokens, Inputs())
    torch.testing.assert_close(gradient, expected * factors)
    torch.testing.assert_close(loss, same)


@pytest.mark.parametrize("toward", ["truth", "placebo"])
def test_a_clamped_head_attends_evenly_to_the_chosen_keys_and_nowhere_else(facts: TaskFacts, toward: Any) -> None:
    found = evaluate(ClampSpec(toward=toward, layers=(1,), heads=(0,)), steps=STEPS)
    pattern, scored = found.pattern[1, 0], facts.scored
    if toward == "truth":
        np.testing.assert_array_equal(pattern[scored], facts.truth[scored] / facts.needed[scored, None])
    else:
        assert (np.sort(pattern[scored], axis=1)[:, -2:] == 0.5).all()
        assert not (pattern[scored] * facts.truth[scored]).any()
    earlier = np.tri(facts.queries)[~scored]
    np.testing.assert_allclose(pattern[~scored], earlier / earlier.sum(1, keepdims=True), rtol=1e-6)
    assert np.abs(found.pattern[1, 1][scored] - pattern[scored]).max() > 0.1


def test_released_heads_are_what_their_weights_say() -> None:
    ensemble = open_ensemble(make(ClampSpec(until=3), TemperatureSpec(factor=3.0, until=3), seeds=1))
    for step, alike in ((2, False), (3, True)):
        ensemble.advance(step)
        with_it = ensemble.evaluate()[Member(0, 0)]
        assert with_it.free is not None
        assert np.array_equal(with_it.loss, with_it.free.loss) is alike


NOTHING = [
    [BiasSpec(strength=0.0)],
    [TemperatureSpec(factor=1.0)],
    [TemperatureSpec(factor=1.0, rows="values"), BiasSpec(strength=0.0, heads=(1,))],
]


@pytest.mark.parametrize("interventions", NOTHING)
def test_without_strength_it_has_exactly_no_effect(interventions: list[Any]) -> None:
    states = []
    for helped in ([], interventions):
        ensemble = open_ensemble(make(*helped, seeds=1))
        ensemble.advance(STEPS)
        states.append(flatten(ensemble.state()[Member(0, 0)]))
    np.testing.assert_array_equal(*states)


def test_logits_of_several_are_added_and_their_factors_multiplied() -> None:
    both = [BiasSpec(strength=1.5), BiasSpec(strength=2.0, layers=(1,), heads=(0,), schedule="linear", until=4)]
    both += [TemperatureSpec(factor=3.0), TemperatureSpec(factor=2.0, heads=(1,))]
    lane = open_lane(open_ensemble(make(*both, seeds=1)))
    truth = torch.from_numpy(read_facts(make()).truth)
    for step, added in ((0, 2.0), (2, 1.0), (9, 0.0)):
        lane._step = step
        expected = 1.5 * truth.expand(2, 2, -1, -1).clone()
        expected[1, 0] += added * truth
        torch.testing.assert_close(lane._find_bias()[0], expected)
    rows = lane._program.unflatten(lane._find_factors()[0])["blocks.1.mixer.query_key_value.bias"]
    torch.testing.assert_close(rows, torch.tensor([3.0] * 8 + [6.0] * 8 + [1.0] * 32))


HELPED = make(
    BiasSpec(strength=4.0, schedule="cosine", until=9),
    TemperatureSpec(factor=0.5, schedule="linear", until=7),
    ClampSpec(toward="placebo", heads=(1,), until=5),
)


@pytest.mark.parametrize("stacked", [False, True])
def test_seeds_are_themselves_alone_together_and_resumed_in_the_middle(stacked: bool) -> None:
    unbroken = open_ensemble(HELPED, stacked=stacked)
    unbroken.advance(6)
    saved = unbroken.state()
    expected = unbroken.advance(STEPS)
    resumed = open_ensemble(HELPED, stacked=stacked)
    resumed.load(6, saved)
    assert resumed.advance(STEPS) == expected
    alone = Ensemble([HELPED], [Member(0, 1)], CPU, stacked=False)
    alone.advance(6)
    own = alone.advance(STEPS)[Member(0, 1)]
    assert expected[Member(0, 1)] == (pytest.approx(own, rel=1e-5) if stacked else own)


def test_a_run_is_also_evaluated_without_what_helps_it() -> None:
    """As a run without interventions measures the same weights."""
    helped, plain = open_ensemble(HELPED), open_ensemble(make())
    helped.advance(4)
    plain.load(4, helped.state())
    for member, evaluation in helped.evaluate().items():
        expected = plain.evaluate()[member]
        assert evaluation.free is not None
        assert expected.free is None
        np.testing.assert_array_equal(evaluation.free.loss, expected.loss)
        np.testing.assert_array_equal(evaluation.free.accuracy, expected.accuracy)
        assert not np.array_equal(evaluation.loss, expected.loss)


def test_one_in_a_list_is_one_and_several_are_a_run_of_their_own() -> None:
    bias, temperature = BiasSpec(strength=3.0), TemperatureSpec(factor=2.0)
    assert (make().intervention, make(bias).intervention) == (None, bias)
    several = make(bias, temperature)
    assert several.interventions == (bias, temperature)
    assert RunSpec.model_validate_json(several.model_dump_json()) == several
    specs = [make(), make(bias), make(temperature), several, make(bias, bias), make(bias, ClampSpec())]
    assert len({spec.content_hash for spec in specs}) == len(specs)
    assert len({spec.shape for spec in specs}) == len(specs)
    with pytest.raises(SaltusError, match=r"intervention: kind is 'warmth'; allowed are bias, temperature"):
        RunSpec.model_validate(
            make().model_dump() | {"intervention": [{"kind": "bias", "strength": 1.0}, {"kind": "warmth"}]}
        )


@pytest.mark.parametrize("intervention", [TemperatureSpec(factor=2.0), ClampSpec()])
def test_attention_that_is_not_there_is_not_changed(intervention: Any) -> None:
    with pytest.raises(SaltusError, match=r"intervention changes attention, which model\.kind 'mamba' does not have"):
        RunSpec.model_validate(make().model_dump() | {"model": MambaSpec(d_model=16), "intervention": intervention})


@pytest.mark.usefixtures("in_this_process")
def test_what_it_does_without_help_is_recorded_and_said(saltus: Any, tmp_path: Path) -> None:
    folder = run(make(ClampSpec(), seeds=1, name="clamped"), out=tmp_path, device="cpu")
    records = folder.records()
    free, helped = records.cube("free", "loss"), records.cube("units", "loss")
    assert free.shape == helped.shape
    weights = {**folder.weights(STEPS, 0), **dict.fromkeys(MOMENTS, np.zeros(1, np.float32))}
    plain = open_ensemble(make(seeds=1))
    plain.load(0, {Member(0, 0): weights})
    expected = plain.evaluate()[Member(0, 0)]
    np.testing.assert_array_equal(free[0, -1], records.facts.mean_by_unit(expected.loss))
    before = replace(records, tables={**records.tables, "free": records.tables["free"][:0]})  # as an archive has it
    assert describe_free(before, summarise(before)) is None
    told = " ".join(saltus("show", folder.path)[1].split())
    sentence = f"With the intervention the loss is {helped[0, -1].mean():.3f} nats"
    assert sentence in told
    assert f"without the intervention the loss is {free[0, -1].mean():.3f} nats" in told
    page = tmp_path / "page.html"
    assert saltus("report", folder.path, "--to", page)[0] == 0
    assert sentence in page.read_text()
