"""What is measured at an evaluation, against slow loops and hand-made patterns."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from saltus import api
from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.models.decoder import Decoder
from saltus.specs import AssociativeRecallSpec, LinearMapSpec, RunSpec, TransformerSpec
from saltus.tasks.associative_recall import AssociativeRecall
from saltus.tasks.base import Task, TaskFacts
from saltus.tasks.linear_map import LinearMap
from saltus.train import evaluate as evaluate_module
from saltus.train.evaluate import align, evaluate_seed
from saltus.train.evaluation import Evaluation, TrainLoss
from saltus.train.measures import MEASURES, Column, Evaluated, Measure, join_measures
from saltus.train.records import list_axes


def tabulate(
    step: int, evaluations: Sequence[Evaluation], losses: Sequence[TrainLoss], facts: TaskFacts
) -> dict[str, pa.Table]:
    evaluated = Evaluated(step, facts, range(len(evaluations)), evaluations, losses)
    return {measure.name: measure.tabulate(evaluated) for measure in MEASURES}


TASK = LinearMap(LinearMapSpec(size=4, sparsity=2), np.random.default_rng(0))
FACTS = TASK.facts


def test_an_evaluation_equals_slow_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_module, "EVALUATION_TOKENS", 40)  # several parts
    model = build_model(TransformerSpec(layers=2, d_model=8, heads=2), FACTS, init_seed=1)
    tokens = torch.from_numpy(TASK.sample(np.random.default_rng(1), 23))
    measured = evaluate_seed(model, dict(model.named_parameters()), tokens, TASK, None, patterns=True)
    loss, right, entropy, exact = np.zeros(7), np.zeros(7), np.zeros((2, 2, 7)), 0
    for sequence in tokens.long():
        with torch.no_grad():
            logits, patterns = model.forward_with_patterns(sequence[None, :-1])
        probabilities = torch.softmax(logits[0], -1).numpy()
        correct = True
        for query in range(7):
            target = int(sequence[query + 1])
            loss[query] -= math.log(probabilities[query, target]) / 23
            hit = int(probabilities[query].argmax()) == target
            right[query] += hit / 23
            correct &= hit or query < 3
            for layer in range(2):
                for head in range(2):
                    for key in range(7):
                        share = float(patterns[layer][0, head, query, key])
                        if FACTS.candidates[query, key] and share > 0:
                            entropy[layer, head, query] -= share * math.log(share) / 23
        exact += correct
    np.testing.assert_allclose(measured.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(measured.accuracy, right)
    np.testing.assert_allclose(measured.entropy, entropy, rtol=1e-4, atol=1e-6)
    assert measured.exact_sequences == pytest.approx(exact / 23)


def align_arrays(pattern: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mass, overlap = align(torch.from_numpy(pattern), torch.from_numpy(truth))
    return mass.numpy(), overlap.numpy()


def slow_align(pattern: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[query, key], [query, key] -> two arrays [query], a sort for each query."""
    mass, overlap = np.zeros(len(truth)), np.zeros(len(truth))
    for query, true in enumerate(truth):
        wanted = [key for key in range(query + 1) if true[key]]
        best = sorted(range(query + 1), key=lambda key: (-pattern[query, key], key))[: len(wanted)]
        mass[query] = sum(float(pattern[query, key]) for key in wanted)
        overlap[query] = len(set(best) & set(wanted)) / max(1, len(wanted))
    return mass, overlap


def make_pattern(*, on_truth: bool) -> np.ndarray:
    """[layer, head, query, key] all attention on the true keys, or on visible keys that are not true."""
    wanted = FACTS.truth if on_truth else np.tri(7, dtype=bool) & ~FACTS.truth
    wanted = np.where(FACTS.scored[:, None], wanted, np.tri(7, dtype=bool))
    return (wanted / wanted.sum(1, keepdims=True)).astype(np.float32)[None, None]


def test_attention_on_the_truth_is_found_and_attention_elsewhere_is_not() -> None:
    mass, overlap = align_arrays(make_pattern(on_truth=True), FACTS.truth)
    np.testing.assert_allclose(mass[..., FACTS.scored], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(overlap[..., FACTS.scored], 1.0)
    mass, overlap = align_arrays(make_pattern(on_truth=False), FACTS.truth)
    np.testing.assert_array_equal(mass[..., FACTS.scored], 0.0)
    # Query 3 sees four keys, two of them true, so the two it attends to are the false ones; and so on.
    np.testing.assert_array_equal(overlap[..., FACTS.scored], 0.0)


def test_half_of_the_truth_is_half_of_the_overlap() -> None:
    pattern = np.zeros((1, 1, 7, 7), dtype=np.float32)
    for query in range(3, 7):
        true = np.flatnonzero(FACTS.truth[query])
        false = next(key for key in range(query + 1) if not FACTS.truth[query, key])
        pattern[0, 0, query, [true[0], false]] = 0.6, 0.4
    mass, overlap = align_arrays(pattern, FACTS.truth)
    np.testing.assert_allclose(mass[0, 0, 3:], 0.6, rtol=1e-6)
    np.testing.assert_array_equal(overlap[0, 0, 3:], 0.5)


@pytest.mark.parametrize("ties", [False, True])
def test_alignment_equals_a_sort_for_each_query(ties: bool) -> None:
    generator = np.random.default_rng(0)
    pattern = generator.random((2, 3, 9, 9), dtype=np.float32) * np.tri(9, dtype=np.float32)
    if ties:
        pattern = pattern.round(1)
    truth = (generator.random((2, 1, 9, 9)) < 0.4) & np.tri(9, dtype=bool)  # from none to many true keys
    mass, overlap = align_arrays(pattern, truth)
    for i in range(2):
        for j in range(3):
            slow_mass, slow_overlap = slow_align(pattern[i, j], truth[i, 0])
            np.testing.assert_allclose(mass[i, j], slow_mass, rtol=1e-6)
            np.testing.assert_allclose(overlap[i, j], slow_overlap)


def test_where_all_keys_are_true_all_are_found_and_none_where_attention_is_not_a_number() -> None:
    truth = np.tri(5, dtype=bool)
    assert (align_arrays(np.tri(5, dtype=np.float32), truth)[1] == 1.0).all()
    assert (align_arrays(np.full((5, 5), np.nan, dtype=np.float32), truth)[1] == 0.0).all()


def test_one_truth_for_all_is_compared_with_the_mean_pattern() -> None:
    model = build_model(TransformerSpec(layers=2, d_model=8, heads=2), FACTS, init_seed=1)
    tokens = torch.from_numpy(TASK.sample(np.random.default_rng(1), 23))
    measured = evaluate_seed(model, dict(model.named_parameters()), tokens, TASK, None, patterns=True)
    for layer in range(2):
        for head in range(2):
            mass, overlap = slow_align(measured.pattern[layer, head], FACTS.truth)
            np.testing.assert_allclose(measured.truth_mass[layer, head], mass, rtol=1e-12)
            np.testing.assert_allclose(measured.overlap[layer, head], overlap, rtol=1e-12)


def test_truth_that_varies_is_compared_sequence_by_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_module, "EVALUATION_TOKENS", 60)  # several parts
    task = AssociativeRecall(AssociativeRecallSpec(pairs=4, queries=2, keys=5, values=3))
    model = build_model(TransformerSpec(layers=2, d_model=8, heads=2), task.facts, init_seed=3)
    weights = {name: value * 8 if value.ndim > 1 else value for name, value in model.named_parameters()}  # uneven
    sequences = task.sample(np.random.default_rng(1), 23)
    truth = task.truth_of(sequences)
    tokens = torch.from_numpy(sequences)
    measured = evaluate_seed(model, weights, tokens, task, None, patterns=True)
    mass, overlap = np.zeros((2, 2, 11)), np.zeros((2, 2, 11))
    for sequence, true in zip(tokens.long(), truth, strict=True):
        with torch.no_grad():
            parameters = {f"model.{name}": value for name, value in weights.items()}
            _, patterns = functional_call(Patterns(model), parameters, (sequence[None, :-1],))
        for layer in range(2):
            for head in range(2):
                one = slow_align(patterns[layer][0, head].numpy(), true)
                mass[layer, head] += one[0] / 23
                overlap[layer, head] += one[1] / 23
    np.testing.assert_allclose(measured.truth_mass, mass, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(measured.overlap, overlap, rtol=1e-9)
    answers = task.facts.scored
    assert 0 < overlap[..., answers].mean() < 1
    assert not overlap[..., ~answers].any()
    # The mean pattern has no such truth: against the first sequence's it gives other numbers.
    assert abs(align_arrays(measured.pattern, truth[0])[0] - mass)[..., answers].max() > 1e-3


class Patterns(torch.nn.Module):
    """So that `functional_call` goes through `forward_with_patterns`."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        return self.model.forward_with_patterns(tokens)


@pytest.mark.parametrize("task", [TASK, AssociativeRecall(AssociativeRecallSpec(pairs=2, queries=2, keys=5, values=3))])
@pytest.mark.parametrize("measured", [True, False])
def test_without_patterns_no_head_is_tabulated(task: Task, measured: bool) -> None:
    spec = TransformerSpec(d_model=8, heads=2)
    model = build_model(spec, task.facts, init_seed=1)
    tokens = torch.from_numpy(task.sample(np.random.default_rng(1), 5))
    one = evaluate_seed(model, dict(model.named_parameters()), tokens, task, None, patterns=measured)
    assert (
        tabulate(0, [one], [TrainLoss(0, 0.0, np.inf)], task.facts)["heads"].num_rows
        == 2 * len(task.facts.units) * measured
    )


def test_rows_carry_the_right_keys() -> None:
    loss = np.arange(7.0)
    pattern = make_pattern(on_truth=True)
    mass, overlap = align_arrays(pattern, FACTS.truth)
    evaluation = Evaluation(
        loss=loss,
        accuracy=np.array([0.5, 0.5, 0.5, 1.0, 1.0, 0.25, 1.0]),
        target_probability=np.full(7, 0.5),
        entropy=np.full((1, 1, 7), 2.0),
        truth_mass=mass,
        overlap=overlap,
        pattern=pattern,
        exact_sequences=0.25,
    )
    tables = tabulate(40, [evaluation, evaluation], [TrainLoss(2, 3.0, 1.25), TrainLoss(0, 0.0, np.inf)], FACTS)
    steps = tables["steps"].to_pylist()
    assert [row["seed"] for row in steps] == [0, 1]
    np.testing.assert_array_equal([row["train_loss"] for row in steps], [1.5, np.nan])
    assert [row["lowest_train_loss"] for row in steps] == [1.25, np.inf]
    assert steps[0]["step"] == 40
    assert steps[0]["loss"] == 3.0
    assert steps[0]["scored_loss"] == 4.5
    assert steps[0]["exact_units"] == 3
    unit = tables["units"].to_pylist()[4 + 2]
    assert (unit["seed"], unit["unit"], unit["loss"], unit["accuracy"]) == (1, 2, 5.0, 0.25)
    assert unit["progress"] == pytest.approx((math.log(2) - 5.0) / math.log(2))
    head = tables["heads"].to_pylist()[3]
    assert (head["layer"], head["head"], head["unit"], head["entropy"], head["overlap"]) == (0, 0, 3, 2.0, 1.0)
    assert tables["positions"].num_rows == 14


# --- a measure of the user's own ---------------------------------------------------------------------------------


def measure_spread(evaluated: Evaluated) -> dict[str, Any]:
    """How uneven a head's pattern is over the keys, and a number of the seed."""
    pattern = evaluated.stack("pattern")  # [seed, layer, head, query, key]
    return {"spread": pattern.std(-1).mean(-1), "steps_done": np.full(pattern.shape[:3], evaluated.step)}


SPREAD = Measure(
    "pattern_spread",
    ("layer", "head"),
    (Column("spread", "of attention over keys"), Column("steps_done", "for the test", "steps", "int32")),
    measure_spread,
)


@pytest.mark.usefixtures("in_this_process")
def test_a_measure_of_ones_own_is_recorded_beside_the_others(tiny: RunSpec, tmp_path: Path) -> None:
    records = api.run(tiny, out=tmp_path / "own", measures=[SPREAD]).records()
    assert list_axes(records.tables["pattern_spread"]) == ["layer", "head"]
    spread = records.cube("pattern_spread", "spread")
    assert spread.shape == (2, len(records.evaluated_steps), 1, 2)
    expected = records.snapshots.attention[-1].astype(float)  # [seed, layer, head, scored query, key]
    assert spread[:, -1].max() <= 0.5
    assert (records.cube("pattern_spread", "steps_done")[:, -1] == tiny.training.steps).all()
    field = records.tables["pattern_spread"].schema.field("steps_done")
    assert field.metadata == {b"meaning": b"for the test", b"unit_of_measure": b"steps"}
    assert expected.shape[:3] == spread[:, -1].shape
    plain = api.run(tiny, out=tmp_path / "plain").records()  # what is measured changes nothing of what is trained
    np.testing.assert_array_equal(plain.cube("units", "loss"), records.cube("units", "loss"))
    assert "pattern_spread" not in plain.tables
    with pytest.raises(SaltusError, match=r"has no steps\.spread; there are train_loss, lowest_train_loss, loss"):
        records.cube("steps", "spread")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: join_measures([Measure("units", (), (Column("x", ""),), measure_spread)]),
            "'units' is given to more than one",
        ),
        (lambda: Measure("a b", (), (Column("x", ""),), measure_spread), "a name is 'a b'"),
        (
            lambda: Measure("mine", ("unit",), (Column("unit", ""),), measure_spread),
            "'unit' is given to more than one column",
        ),
    ],
)
def test_a_bad_measure_is_one_sentence(make: Any, message: str) -> None:
    with pytest.raises(SaltusError, match=message):
        make()


@pytest.mark.parametrize(
    "given",
    [{}, {"y": np.zeros(2)}, {"x": np.zeros(3)}, {"x": np.zeros((2, 2))}, {"x": np.zeros(2), "y": np.zeros(2)}],
)
def test_a_measure_that_gives_something_else_is_one_sentence(given: dict[str, Any]) -> None:
    measure = Measure("mine", (), (Column("x", ""),), lambda _: given)
    with pytest.raises(SaltusError, match=r"measure 'mine' gave .*; it is to give x, each of the shape \[seed\]"):
        measure.tabulate(evaluate_two())


def evaluate_two() -> Evaluated:
    """An evaluation of two seeds."""
    model = build_model(TransformerSpec(d_model=8, heads=2), FACTS, init_seed=1)
    tokens = torch.from_numpy(TASK.sample(np.random.default_rng(1), 3))
    one = evaluate_seed(model, dict(model.named_parameters()), tokens, TASK, None, patterns=True)
    return Evaluated(0, FACTS, [0, 1], [one, one], [])


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (["a", "b"], "float64", r"gave <U1 for x; it is to give numbers, as double"),
        ([None, 1.0], "float64", r"gave object for x; it is to give numbers"),
        ([1j, 2j], "float64", r"gave complex128 for x"),
        ([[1.0], [1.0, 2.0]], "float64", r"gave no array \(.*\) for x; it is to give an array"),
        ([2**60 + 1, 0], "float64", r"gave int64 \(Integer value .*\) for x; it is to give what double can hold"),
        ([np.nan, 1.0], "int32", r"gave float64 \(.*\) for x; it is to give what int32 can hold"),
        ([0.5, 1.0], "int32", r"gave float64 \(.*\) for x; it is to give what int32 can hold"),
    ],
)
def test_a_measure_that_gives_no_number_of_its_type_is_one_sentence(values: Any, kind: Any, said: str) -> None:
    measure = Measure("mine", (), (Column("x", "", type=kind),), lambda _: {"x": values})
    with pytest.raises(SaltusError, match=rf"^measure 'mine' {said}.* \({re.escape(__file__)}:[0-9]+\)$"):
        measure.tabulate(evaluate_two())


def test_a_measure_may_give_lists_and_truth_values() -> None:
    given: Any = {"x": [True, False]}
    measure = Measure("mine", (), (Column("x", ""),), lambda _: given)
    assert measure.tabulate(evaluate_two())["x"].to_pylist() == [1.0, 0.0]


def measure_misspelt(evaluated: Evaluated) -> dict[str, Any]:
    return {"x": evaluated.stack("patern")}


def test_a_measure_that_raises_is_one_sentence_with_its_line() -> None:
    line = measure_misspelt.__code__.co_firstlineno + 1
    measure = Measure("mine", (), (Column("x", ""),), measure_misspelt)
    said = rf"^measure 'mine' raised AttributeError: .*'patern'.*, at {re.escape(__file__)}:{line}; mend its code$"
    with pytest.raises(SaltusError, match=said):
        measure.tabulate(evaluate_two())
    nothing: Any = None
    with pytest.raises(SaltusError, match=r"^measure 'mine' gave a NoneType; it is to give an array for each column"):
        Measure("mine", (), (Column("x", ""),), lambda _: nothing).tabulate(evaluate_two())


def test_a_fault_of_saltus_own_measures_keeps_its_traceback() -> None:
    wrong: Any = Evaluated(0, FACTS, [0], [object()], [])  # type: ignore[list-item]
    with pytest.raises(AttributeError):
        MEASURES[1].tabulate(wrong)


@pytest.mark.parametrize("given", [[3], SPREAD, [measure_spread]])
def test_what_is_no_measure_is_named(given: Any) -> None:
    with pytest.raises(SaltusError, match=r"^measures: .* was given; it is a list of Measure"):
        join_measures(given)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_mean_of_ones_is_one_and_no_mean_depends_on_the_rows_beside_it(queries: int, rows: int, seed: int) -> None:
    """A share of exactly 1 is what `exact_units` counts."""
    units = {"a": list(range(queries)), "b": [queries]}
    facts = TaskFacts.of(symbols=2, length=queries + 2, units=units)
    assert (facts.mean_by_unit(np.ones((rows, queries + 1))) == 1.0).all()
    values = np.random.default_rng(seed).normal(size=(rows, queries + 1))
    together = facts.mean_by_unit(values)
    np.testing.assert_array_equal(together, [facts.mean_by_unit(row) for row in values])
    np.testing.assert_allclose(together[:, 0], values[:, :-1].mean(1), rtol=1e-12, atol=1e-15)
