"""Phases: each does to data and loss what it says, and its placebo does as much to another map."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import (
    AssociativeRecallSpec,
    CellularAutomatonSpec,
    InductionSpec,
    InputBiasPhase,
    LinearMapSpec,
    MixturePhase,
    MultiQueryRecallSpec,
    NoiseSpec,
    RepeatPhase,
    RepeatSpec,
    RowsPhase,
    RunSpec,
    SizePhase,
    SparseParitySpec,
    SparsityPhase,
    SymbolsPhase,
    TrainingSpec,
    TransformerSpec,
)
from saltus.specs.curricula import BasePhaseSpec
from saltus.specs.tasks import SyntheticSpec
from saltus.tasks.build import build_task_of
from saltus.tasks.cellular_automaton import CellularAutomaton
from saltus.tasks.linear_map import LinearMap
from saltus.train.phases.base import Batch, Phase
from saltus.train.phases.course import build_phases
from saltus.train.program import Inputs, Program

BATCH = 64
MAP = LinearMapSpec(size=6, sparsity=3, symbols=3)


def make(*phases: BasePhaseSpec, task: SyntheticSpec = MAP, **training: Any) -> RunSpec:
    return RunSpec(
        task=task,
        model=TransformerSpec(d_model=16, heads=2, d_mlp=16),
        training=TrainingSpec(steps=100, batch_sequences=BATCH, compile=False, evaluation_sequences=32, **training),
        curriculum=phases,
    )


def draw(
    spec: BasePhaseSpec, *, task: SyntheticSpec = MAP, step: int = 0, **training: Any
) -> tuple[Phase, Batch, NDArray[Any]]:
    """A phase, its batch at a step, and the batch that the target drew for it."""
    run = make(spec, task=task, **training)
    target = build_task_of(run, 0)
    tokens = target.sample(np.random.default_rng(1), BATCH)
    (phase,) = build_phases(run, target)
    return phase, phase.draw(step, tokens, np.random.default_rng(step)), tokens


def follows(rows: NDArray[np.uint8], tokens: NDArray[Any]) -> NDArray[np.bool_]:
    """[sequence] whether the second state of a map of six rows follows from the first."""
    return (tokens[:, 6:] == tokens[:, :6] @ rows.T % 3).all(1)


def test_a_sparser_map_has_the_first_keys_of_each_row_and_the_placebo_is_another_map() -> None:
    rows = LinearMap(MAP, np.random.default_rng(0)).map
    thin = LinearMap(MAP, np.random.default_rng(0)).thin(2, np.random.default_rng(0))
    assert (thin.map.sum(1) == 2).all()
    assert (thin.map <= rows).all()
    assert [row.argmax() for row in thin.map] == [row.argmax() for row in rows]
    assert not (thin.facts.truth & ~LinearMap(MAP, np.random.default_rng(0)).facts.truth).any()
    phase, batch, _ = draw(SparsityPhase(keys=2, steps=5))
    assert isinstance(phase.task, LinearMap)
    assert isinstance(phase.target, LinearMap)
    assert_array_equal(phase.task.map, phase.target.map * (phase.target.map.cumsum(1) <= 2))
    assert follows(phase.task.map, batch.tokens).all()
    assert batch.weights is None
    placebo, batch, _ = draw(SparsityPhase(keys=2, steps=5, source="other"))
    assert isinstance(placebo.task, LinearMap)
    assert (placebo.task.map.sum(1) == 2).all()
    assert (placebo.task.map > phase.target.map).any()
    assert follows(placebo.task.map, batch.tokens).all()


def test_a_narrower_automaton_reads_the_cells_at_both_ends_as_zero() -> None:
    wide = CellularAutomatonSpec(size=8, symbols=3, window=3, states=2, rules=5)
    whole = CellularAutomaton(wide, np.random.default_rng(0))
    narrow = whole.thin(1, np.random.default_rng(1))
    state = np.random.default_rng(2).integers(0, 3, size=(5, 8), dtype=np.uint8)
    assert whole.pool is not None
    assert narrow.pool is not None
    followed = narrow.evolve(narrow.pool, np.arange(5), state)
    for cell in range(8):
        alone = np.zeros_like(state)
        alone[:, cell] = state[:, cell]
        assert_array_equal(followed[:, cell], whole.evolve(whole.pool, np.arange(5), alone)[:, cell])
    assert narrow.facts.truth.sum() * 3 == whole.facts.truth.sum()
    assert not (narrow.facts.truth & ~whole.facts.truth).any()


def test_a_thinner_parity_has_the_first_of_its_bits() -> None:
    task = SparseParitySpec(bits=8, subset=3)
    phase, batch, _ = draw(SparsityPhase(keys=2, steps=5), task=task)
    subset = phase.target.subset[:2]  # type: ignore[attr-defined]
    assert_array_equal(batch.tokens[:, 8], batch.tokens[:, subset].sum(1) % 2)


def test_a_shorter_context_is_the_beginning_of_the_targets_own_sequences() -> None:
    phase, batch, tokens = draw(SizePhase(tokens=9, steps=5), loss="scored")
    assert_array_equal(batch.tokens, tokens[:, :9])
    assert batch.weights is not None
    assert_array_equal(batch.weights, np.tile([0, 0, 0, 0, 0, 1 / 3, 1 / 3, 1 / 3], (BATCH, 1)))
    assert phase.facts.units == ("row 0", "row 1", "row 2")
    loss = np.array([9.0] * 5 + [0.0, 0.0, 9.0] + [9.0] * 3)  # of the target: two of the three rows are known
    assert phase.share_solved(loss) == pytest.approx(2 / 3)
    _, batch, _ = draw(SizePhase(tokens=9, steps=5, source="other"))
    assert batch.tokens.shape == (BATCH, 9)
    rows = phase.target.map[:3]  # type: ignore[attr-defined]
    assert (batch.tokens[:, 6:] == batch.tokens[:, :6] @ rows.T % 3).all(1).mean() < 0.5


def test_shorter_sequences_among_whole_ones_have_no_loss_where_they_are_filled_up() -> None:
    _, batch, tokens = draw(SizePhase(tokens=9, steps=5, probability=0.5))
    assert batch.weights is not None
    cut = (batch.weights[:, 8:] == 0).all(1)
    assert abs(cut.mean() - 0.5) < 0.25
    assert_array_equal(batch.tokens[~cut], tokens[~cut])
    assert (batch.tokens[cut, 9:] == 0).all()
    assert_array_equal(batch.weights[~cut], np.full(batch.weights[~cut].shape, 1 / 11))
    assert_array_equal(batch.weights[cut, :8], np.full((int(cut.sum()), 8), 1 / 8))


def test_inputs_have_the_symbols_that_are_asked_for_and_the_rest_follows_from_them() -> None:
    phase, batch, _ = draw(SymbolsPhase(symbols=2, steps=5))
    assert set(np.unique(batch.tokens[:, :6])) == {0, 1}
    assert set(np.unique(batch.tokens)) == {0, 1, 2}
    assert follows(phase.target.map, batch.tokens).all()  # type: ignore[attr-defined]
    other, batch, _ = draw(SymbolsPhase(symbols=2, steps=5, source="other"))
    assert follows(other.task.map, batch.tokens).all()  # type: ignore[attr-defined]
    assert not follows(phase.target.map, batch.tokens).all()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("linear", 0, 0.9),
        ("linear", 25, (0.9 + 1 / 3) / 2),
        ("linear", 49, 1 / 3),
        ("cosine", 25, (0.9 + 1 / 3) / 2),
        ("cosine", 10, 0.9 - (0.9 - 1 / 3) * (1 - np.cos(np.pi / 5)) / 2),
        ("constant", 49, 0.9),
    ],
)
def test_symbol_0_is_as_frequent_as_its_schedule_says(schedule: Any, step: int, expected: float) -> None:
    phase, batch, _ = draw(InputBiasPhase(zero=0.9, schedule=schedule, steps=50), step=step)
    inputs = batch.tokens[:, :6]
    deviation = np.sqrt(expected * (1 - expected) / inputs.size)
    assert abs((inputs == 0).mean() - expected) < 4 * deviation + 0.012  # and a step of the schedule
    others = [(inputs == symbol).sum() for symbol in (1, 2)]
    assert abs(others[0] - others[1]) < 4 * np.sqrt(sum(others))
    assert follows(phase.target.map, batch.tokens).all()  # type: ignore[attr-defined]


@pytest.mark.parametrize("loss", ["sequence", "scored"])
def test_rows_outside_the_chosen_ones_have_no_gradient(loss: Any) -> None:
    """The gradient is that of a loss without them: their targets may be anything."""
    run = make(RowsPhase(number=4, steps=5), loss=loss)
    target = build_task_of(run, 0)
    (phase,) = build_phases(run, target)
    program = Program(run, target.facts, torch.device("cpu"), stacked=False, biased=False)
    flat = torch.cat([value.detach().reshape(-1) for value in program.model.parameters()])[None]
    tokens = target.sample(np.random.default_rng(1), BATCH)

    def differentiate(changed: int) -> torch.Tensor:
        batch = tokens.copy()
        batch[:, changed] = (batch[:, changed] + 1) % 3
        weights = phase.draw(0, batch, np.random.default_rng(0)).weights
        assert weights is not None
        assert weights.sum(1) == pytest.approx(np.ones(BATCH))
        given = Inputs(weights=torch.from_numpy(weights).float()[None])
        return program.gradient(flat, torch.from_numpy(batch)[None], given)[0]

    # Token 11 is row 5, and is read by nothing; token 9 is row 3, which is among the first four.
    unchanged = differentiate(11)
    tokens[:, 11] = (tokens[:, 11] + 1) % 3
    assert torch.equal(differentiate(11), unchanged)
    assert not torch.equal(differentiate(9), differentiate(11))


def test_rows_are_named_or_drawn_once_or_change_at_each_step() -> None:
    def choose(spec: RowsPhase, step: int) -> list[int]:
        phase, batch, tokens = draw(spec, step=step)
        assert batch.weights is not None
        assert_array_equal(batch.tokens, tokens)
        return [int(phase.target.facts.unit_of_query[query]) for query in np.flatnonzero(batch.weights[0]) if query > 4]

    assert choose(RowsPhase(units=(1, 4), steps=5), 0) == [1, 4]
    assert choose(RowsPhase(number=2, steps=5), 3) == [0, 1]
    drawn = {tuple(choose(RowsPhase(number=2, steps=5, choice="drawn"), step)) for step in range(5)}
    assert len(drawn) == 1
    changing = {tuple(choose(RowsPhase(number=2, steps=5, choice="changing"), step)) for step in range(5)}
    assert len(changing) > 2
    assert {len(rows) for rows in changing} == {2}
    phase, _, _ = draw(RowsPhase(units=(1, 4), steps=5))
    assert phase.facts.units == ("row 1", "row 4")


def test_a_pool_comes_back_as_the_intervention_has_it() -> None:
    spec = RepeatPhase(pool=RepeatSpec(sequences=2, probability=1.0), steps=5)
    _, batch, tokens = draw(spec)
    assert len(np.unique(batch.tokens, axis=0)) == 2
    placebo = RepeatPhase(pool=RepeatSpec(sequences=2, probability=1.0, source="fresh"), steps=5)
    assert len(np.unique(draw(placebo)[1].tokens, axis=0)) > BATCH / 2
    never = RepeatPhase(pool=RepeatSpec(sequences=2, probability=0.0), steps=5)
    assert_array_equal(draw(never)[1].tokens, tokens)


def test_a_mixture_has_its_share_of_the_easier_task() -> None:
    easier = LinearMapSpec(size=6, sparsity=1, symbols=3)
    phase, batch, tokens = draw(MixturePhase(task=easier, probability=0.4, steps=5))
    own = follows(phase.task.map, batch.tokens)  # type: ignore[attr-defined]
    assert abs(own.mean() - 0.4) < 0.25
    assert_array_equal(batch.tokens[~own], tokens[~own])
    assert batch.weights is None  # places are scored alike
    _, batch, _ = draw(MixturePhase(task=NoiseSpec(length=5, symbols=3), steps=5))
    assert batch.tokens.shape == (BATCH, 5)
    recall = AssociativeRecallSpec(pairs=4, queries=2, keys=5, values=3)
    fewer = AssociativeRecallSpec(pairs=2, queries=1, keys=5, values=3)
    _, batch, _ = draw(MixturePhase(task=fewer, steps=5), task=recall, loss="scored")
    assert batch.weights is not None
    assert batch.tokens.shape == (BATCH, 6)
    assert_array_equal(np.flatnonzero(batch.weights[0]), [4])  # the answer of its one question


def test_answers_at_other_places_in_each_sequence_keep_their_weights() -> None:
    target = MultiQueryRecallSpec(pairs=2, length=16, keys=4, values=3)
    shorter = MultiQueryRecallSpec(pairs=2, length=12, keys=4, values=3)
    phase, batch, _ = draw(MixturePhase(task=shorter, probability=0.5, steps=5), task=target, loss="scored")
    assert batch.weights is not None
    assert batch.weights.shape == (BATCH, 15)
    truth = phase.target.truth_of(batch.tokens).any(2)  # the same places of pairs in both
    assert_array_equal(batch.weights > 0, truth & (batch.weights > 0))
    assert_array_equal((batch.weights > 0).sum(1), np.full(BATCH, 2))


REFUSED: list[tuple[BasePhaseSpec, SyntheticSpec, str]] = [
    (
        SparsityPhase(keys=3, steps=5),
        MAP,
        "keys: 3 was given, and each query of the target needs 3; allowed are 1 to 2",
    ),
    (
        SparsityPhase(keys=2, steps=5),
        CellularAutomatonSpec(size=8, window=5, rules=3, states=2),
        "keys: 2 was given, and each query of the target needs 5; allowed are odd numbers from 1 to 3",
    ),
    (SparsityPhase(keys=1, steps=5), NoiseSpec(length=6, symbols=3), "'noise' has no version with fewer keys"),
    (SymbolsPhase(symbols=2, steps=5), NoiseSpec(length=6, symbols=3), "'noise' does not follow from inputs"),
    (SizePhase(tokens=6, steps=5), MAP, "has 6 tokens, and the first that is scored is token 7"),
    (
        SizePhase(tokens=8, steps=5),
        MultiQueryRecallSpec(pairs=2, length=12, keys=4, values=3),
        "'multi_query_recall' scores other places in each sequence; take a phase of kind 'mixture'",
    ),
    (
        RowsPhase(number=1, steps=5),
        MultiQueryRecallSpec(pairs=2, length=12, keys=4, values=3),
        "'multi_query_recall' scores other places in each sequence; take a phase of another kind",
    ),
    (RowsPhase(number=7, steps=5), MAP, "is of 7 units, and the task has the units 0 to 5"),
    (RowsPhase(units=(2, 6), steps=5), MAP, "is of the units 2, 6, and the task has the units 0 to 5"),
]


@pytest.mark.parametrize(("spec", "task", "words"), REFUSED)
def test_what_a_task_does_not_have_is_refused(spec: BasePhaseSpec, task: SyntheticSpec, words: str) -> None:
    with pytest.raises(SaltusError, match=words):
        draw(spec, task=task)


def test_every_sequence_of_a_phase_of_induction_is_cut() -> None:
    """A truth that varies is no hindrance: what is scored stands at the same places."""
    task = InductionSpec(symbols=9, length=10, shortest=5, longest=7)
    phase, batch, tokens = draw(SizePhase(tokens=9, steps=5), task=task, loss="scored")
    assert_array_equal(batch.tokens, tokens[:, :9])
    assert phase.facts.units == ("repetition",)
