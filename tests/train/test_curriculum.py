"""Curricula: a run in phases resumes bit by bit, each seed by itself, and is evaluated and counted as any other."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from saltus import api
from saltus.errors import SaltusError
from saltus.specs import (
    BiasSpec,
    CustomSpec,
    CustomTask,
    DataSpec,
    InputBiasPhase,
    LinearMapSpec,
    MixturePhase,
    RepeatPhase,
    RepeatSpec,
    RowsPhase,
    RunSpec,
    ScheduleSpec,
    SizePhase,
    SparsityPhase,
    SymbolsPhase,
    TrainingSpec,
    TransformerSpec,
)
from saltus.specs.curricula import BasePhaseSpec
from saltus.tasks.base import Task
from saltus.tasks.build import build_task_of
from saltus.train.ensemble import Ensemble, Member, list_members
from saltus.train.flops import count_flops, count_spent
from saltus.train.folder import RunFolder
from saltus.train.material import Material
from saltus.train.phases.course import Course, build_phases
from saltus.train.program import Program

CPU = torch.device("cpu")
STEPS = 24
TASK = LinearMapSpec(size=4, sparsity=2)
EVERY_KIND: tuple[BasePhaseSpec, ...] = (
    SizePhase(tokens=6, steps=3),
    RowsPhase(number=2, choice="changing", steps=3),
    SparsityPhase(keys=1, probability=0.5, steps=3),
    InputBiasPhase(zero=0.9, steps=3),
    RepeatPhase(pool=RepeatSpec(sequences=4, probability=0.5), steps=3),
    MixturePhase(task=LinearMapSpec(size=2, sparsity=1), probability=0.5, steps=3),
    SymbolsPhase(symbols=2, source="other", steps=3),
)
OPEN = (
    SparsityPhase(keys=1, steps=14, until_solved=0.25),
    SizePhase(tokens=6, steps=8, until_solved=1.0),
)
"""Phases that each seed leaves by itself: at a rate that solves copies of inputs soon."""


def make(*phases: BasePhaseSpec, seeds: int = 2, **values: Any) -> RunSpec:
    return RunSpec(
        name="phased",
        task=TASK,
        model=TransformerSpec(d_model=16, heads=2, d_mlp=24),
        training=TrainingSpec(
            steps=STEPS,
            batch_sequences=8,
            learning_rate=0.01,
            warmup=2,
            compile=False,
            evaluation_sequences=16,
            evaluate=ScheduleSpec(every=3),
            snapshot=ScheduleSpec(every=20),
            checkpoint=ScheduleSpec(every=5),
        ),
        emergence={"threshold": 0.1},  # type: ignore[arg-type]
        curriculum=phases,
        seeds=seeds,
        **values,
    )


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def open_ensemble(spec: RunSpec, members: list[Member] | None = None, *, stacked: bool = False) -> Ensemble:
    return Ensemble([spec], members or list_members([spec]), CPU, stacked=stacked)


def train(ensemble: Ensemble, steps: range) -> Any:
    """Train with an evaluation at every third step; the state at the end."""
    for step in steps:
        if step % 3 == 0:
            ensemble.evaluate()
        ensemble.advance(step + 1)
    return ensemble.state()


def assert_equal_states(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert_array_equal(value, other[name], err_msg=name)


def test_before_the_end_of_a_curriculum_training_differs_and_afterwards_data_are_the_same_again() -> None:
    phased, plain = make(RowsPhase(number=2, steps=5)), make()
    one, other = open_ensemble(phased), open_ensemble(plain)
    member = Member(0, 0)
    one.advance(5)
    other.advance(5)
    assert not np.array_equal(one.state()[member]["positions"], other.state()[member]["positions"])
    weights = {each: {n: v for n, v in state.items() if n != "course"} for each, state in one.state().items()}
    other.load(5, weights)
    assert one.advance(8) == other.advance(8)


def test_a_phase_without_any_of_its_sequences_is_the_target_bit_by_bit() -> None:
    nothing = [
        SparsityPhase(keys=1, probability=0.0, steps=3),
        RepeatPhase(pool=RepeatSpec(sequences=2, probability=0.0), steps=3),
    ]
    assert open_ensemble(make(*nothing)).advance(6) == open_ensemble(make()).advance(6)
    # One whose weights are its own is so but for rounding.
    losses = open_ensemble(make(RowsPhase(number=4, steps=6))).advance(6)
    for member, loss in open_ensemble(make()).advance(6).items():
        assert losses[member].total == pytest.approx(loss.total, rel=1e-5)


def test_a_phase_is_annealed_from_its_own_start() -> None:
    spec = make(RowsPhase(number=2, steps=5), InputBiasPhase(zero=1.0, steps=4))
    target = build_task_of(spec, 0)
    course = Course(spec, 0, build_phases(spec, target))
    tokens = torch.from_numpy(target.sample(np.random.default_rng(0), 50))
    for step, share in ((5, 1.0), (7, 0.75)):
        course.reach(step)
        batch, _ = course.draw(step, tokens)
        assert (batch[:, :4] == 0).float().mean().item() == pytest.approx(share, abs=0.12 * (step > 5))
    assert course.reach(9) is None
    assert course.draw(9, tokens)[0] is tokens


@pytest.mark.parametrize("phases", [EVERY_KIND, OPEN], ids=["every kind", "open ends"])
def test_a_seed_is_bit_equal_alone_and_together_and_when_it_goes_on(phases: tuple[BasePhaseSpec, ...]) -> None:
    spec, member = make(*phases), Member(0, 1)
    together = open_ensemble(spec)
    before = train(together, range(10))  # inside a phase
    after = train(together, range(10, STEPS))
    alone = open_ensemble(spec, [member])
    assert_equal_states(train(alone, range(STEPS))[member], after[member])
    resumed = open_ensemble(spec)
    resumed.load(10, before)
    assert_equal_states(train(resumed, range(10, STEPS))[member], after[member])


def test_seeds_leave_an_open_phase_by_themselves() -> None:
    spec = make(*OPEN, seeds=4)
    starts = [state["course"].tolist() for state in train(open_ensemble(spec), range(STEPS)).values()]
    assert len({tuple(each) for each in starts}) > 1
    assert all(len(each) == 3 and each[0] == 0 for each in starts)
    assert any(each[1] < 14 and each[1] % 3 == 0 for each in starts)  # at an evaluation, and before its last step
    assert all(each[1] <= 14 and each[2] - each[1] <= 8 for each in starts)


def test_the_share_with_which_a_phase_ended_is_its_own_and_not_that_of_the_next() -> None:
    spec = make(RowsPhase(number=2, steps=6, until_solved=1.0), SparsityPhase(keys=1, steps=6, until_solved=1.0))
    course = Course(spec, 0, phases := build_phases(spec, build_task_of(spec, 0)))
    asked: list[Any] = []

    def evaluate(tokens: Any, task: Task) -> Any:
        asked.append(task)
        return Mock(loss=np.zeros(task.facts.queries))

    queries = phases[0].facts.queries
    shares: list[float] = []
    for step, loss in ((3, np.ones(queries)), (6, np.ones(queries)), (9, np.zeros(queries))):
        course.reach(step - 1)
        shares.append(course.judge(step, loss, evaluate).solved)
    assert shares == [0.0, 0.0, 1.0]
    assert asked == [phases[1].task]  # the rows are judged by the target, and at step 6 they are what was trained
    assert course.starts == [0, 6, 9]


def test_stacked_every_seed_is_itself_but_for_rounding() -> None:
    spec = make(OPEN[0], *EVERY_KIND[:3])  # seeds that are in phases of different lengths at one step
    stacked, apart = open_ensemble(spec, stacked=True), open_ensemble(spec)
    lengths = set[int]()
    for step in range(3, STEPS, 3):
        losses, expected = stacked.advance(step), apart.advance(step)
        for member in losses:
            assert losses[member].total == pytest.approx(expected[member].total, rel=1e-4)
        standings = [[each.standing for each in ensemble.evaluate().values()] for ensemble in (stacked, apart)]
        assert [each and each[:1] + each[2:] for each in standings[0]] == [
            each and each[:1] + each[2:] for each in standings[1]
        ]
        lengths.add(len(set(standings[0])))
    assert 2 in lengths


def choose_eager(_: torch.device) -> str:
    return "eager"


def test_a_compiled_step_has_as_many_lengths_as_there_are_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch refuses a function with more than eight shapes."""
    monkeypatch.setattr("saltus.train.program._choose_backend", choose_eager)

    def measure(_: Program, flat: torch.Tensor, tokens: torch.Tensor, *__: Any) -> torch.Tensor:
        return (flat.sum() * tokens.float()).mean()

    monkeypatch.setattr(Program, "_loss", measure)  # of another model, which is traced sooner
    losses: list[Any] = []
    for how in (True, False):
        values = make(*EVERY_KIND[:1]).model_dump()
        values |= {"task": LinearMapSpec(size=9, sparsity=2), "training": values["training"] | {"compile": how}}
        values |= {"curriculum": [SizePhase(tokens=tokens, steps=1) for tokens in range(10, 19)]}
        values |= {"model": TransformerSpec(d_model=4, heads=1, d_mlp=0)}
        losses.append(open_ensemble(RunSpec.model_validate(values), [Member(0, 0)]).advance(10)[Member(0, 0)].total)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_killed_run_ends_as_if_nothing_had_happened(
    tmp_path: Path, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(BaseException):
        pass

    spec = make(*OPEN)
    whole = api.run(spec, out=tmp_path / "whole", device="cpu").records()
    commit, commits = RunFolder.commit, list[int]()

    def fail(self: RunFolder, step: int, *arguments: Any) -> None:
        commits.append(step)
        if len(commits) == 4:
            raise Stop
        commit(self, step, *arguments)

    monkeypatch.setattr(RunFolder, "commit", fail)
    with pytest.raises(Stop):
        api.run(spec, out=tmp_path / "broken", device="cpu")
    last = max(RunFolder(tmp_path / "broken" / spec.run_id).checkpoint_steps())
    there = whole.tables["phases"]
    places = there["phase"].to_numpy()[there["step"].to_numpy() == last]
    assert (places < 2).any()  # it was killed inside of a phase
    monkeypatch.setattr(RunFolder, "commit", commit)
    again = api.run(spec, out=tmp_path / "broken", device="cpu").records()
    for name, table in whole.tables.items():
        for column in table.column_names:
            assert_array_equal(table[column].to_numpy(), again.tables[name][column].to_numpy(), err_msg=column)
    # More seeds are trained later as if all had been asked for at once; seed 0 is the same run.
    more = api.run(spec.with_overrides(seeds=3), out=tmp_path / "broken", device="cpu").records()
    assert more.seeds == [0, 1, 2]
    assert_array_equal(more.cube("steps", "train_loss")[:2], whole.cube("steps", "train_loss"))


def test_evaluation_is_on_the_target_with_the_same_sequences_and_costs_are_since_the_start(
    tmp_path: Path, in_this_process: None
) -> None:
    phased, plain = make(*EVERY_KIND[:2]), make()
    phased, plain = (spec.with_overrides(steps=9) for spec in (phased, plain))
    one, other = (api.run(spec, out=tmp_path, device="cpu").records() for spec in (phased, plain))
    for column in ("loss", "accuracy", "progress"):
        values, expected = one.cube("units", column), other.cube("units", column)
        assert values.shape == expected.shape
        assert_array_equal(values[:, 0], expected[:, 0])  # before the first step
    assert_array_equal(one.facts.truth, other.facts.truth)
    assert "phases" not in other.tables
    steps, tokens = one.evaluated_steps, one.cube("phases", "tokens")[0]
    short = np.minimum(steps, 3)
    assert_array_equal(tokens, 8 * (6 * short + 8 * (steps - short)))
    assert (tokens[1:] < 8 * 8 * steps[1:]).all()
    expected = count_flops(phased, 6) * short + count_flops(phased) * (steps - short)
    assert one.cube("phases", "operations")[0] == pytest.approx(expected)
    assert one.cube("phases", "phase")[0].tolist() == np.searchsorted([3, 6], steps, side="right").tolist()


def test_what_a_step_costs_is_known_from_the_description_or_from_when_phases_began() -> None:
    spec = make(SizePhase(tokens=6, steps=10, until_solved=1.0), RowsPhase(number=1, steps=5))
    assert count_spent(spec, 4).tokens == 4 * 8 * 6
    assert count_spent(spec, 12).tokens == 8 * (10 * 6 + 2 * 8)
    assert count_spent(spec, 12, [0, 3]).tokens == 8 * (3 * 6 + 9 * 8)
    assert count_spent(spec, 20, [0, 3, 8]).operations == pytest.approx(
        3 * count_flops(spec, 6) + 17 * count_flops(spec)
    )
    assert count_spent(make(), 20) == (20 * 8 * 8, 20 * count_flops(make()))


def change(**values: Any) -> dict[str, Any]:
    return make().model_dump() | values


class Averaging(torch.nn.Module):
    """A mixer of one's own."""

    def __init__(self, d_model: int, queries: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(queries, queries).tril() / queries)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight @ x


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"curriculum": [MixturePhase(task=LinearMapSpec(size=4, sparsity=1, symbols=3), steps=5)]},
        r"curriculum.0 \(mixture\): its task has 3 symbols and the target 2; a phase may not change the vocabulary",
    ),
    (
        {"curriculum": [EVERY_KIND[0], SymbolsPhase(symbols=3, steps=5)]},
        r"curriculum.1 \(symbols\): symbols is 3 and the target has 2; a phase may not change the vocabulary",
    ),
    (
        {"curriculum": [SizePhase(tokens=9, steps=5)]},
        r"curriculum.0 \(size\): its sequences have 9 tokens and the target's 8; a phase may not change the parameters",
    ),
    (
        {"curriculum": [MixturePhase(task=LinearMapSpec(size=5, sparsity=1), steps=5)]},
        r"its sequences have 10 tokens and the target's 8; a phase may not change the parameters",
    ),
    (
        {"curriculum": [RowsPhase(number=1, steps=20), SparsityPhase(keys=1, steps=5)]},
        r"the phases of the curriculum have 25 steps and training.steps is 24; make the phases shorter",
    ),
    (
        {"curriculum": [RowsPhase(number=1, steps=5)], "data": DataSpec(train=8, test=4)},
        "curriculum and data are given",
    ),
    (
        {"curriculum": [SizePhase(tokens=6, steps=5)], "intervention": BiasSpec(strength=1.0)},
        r"curriculum.0 \(size\) has shorter sequences and intervention is given, which is made for the target's length",
    ),
    (
        {"curriculum": [SizePhase(tokens=6, steps=5)], "model": CustomSpec.of(Averaging)},
        r"a mixer of one's own may have a parameter for each position",
    ),
    ({"curriculum": [{"kind": "colour", "steps": 5}]}, "kind is 'colour'; allowed are sparsity, size, symbols"),
    ({"curriculum": [{"kind": "rows", "number": 1, "steps": 5, "d_model": 8}]}, "RowsPhase.d_model: there is no such"),
    ({"curriculum": [{"kind": "rows", "steps": 5}]}, "give either units, or a number and how they are chosen"),
    (
        {"curriculum": [{"kind": "repeat", "steps": 5, "pool": {"sequences": 2, "probability": 1.0, "until": 3}}]},
        "pool.until is 3; a phase ends by its own steps",
    ),
]


@pytest.mark.parametrize(("values", "words"), BAD)
def test_what_cannot_be_a_curriculum_is_one_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SaltusError, match=words):
        RunSpec(**change(**values))


def test_a_phase_that_its_task_cannot_have_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match="phased: keys: 2 was given, and each query of the target needs 2"):
        api.run(make(SparsityPhase(keys=2, steps=5)), out=tmp_path, device="cpu")


def test_own_code_of_a_mixture_runs_in_training_alone(tmp_path: Path) -> None:
    """A folder of somebody else's may describe one, and what is measured of its run must not execute it."""
    source = "class Own:\n    def __init__(self, generator):\n        raise RuntimeError('it ran')\n"
    spec = make(MixturePhase(task=CustomTask(name="Own", source=source, length=8, symbols=2), steps=5))
    assert Material(spec, 0, CPU).facts.length == 8
    with pytest.raises(SaltusError, match="task: Own raised RuntimeError: it ran"):
        api.run(spec, out=tmp_path, device="cpu")


def test_a_curriculum_is_read_back_and_every_part_of_it_is_in_the_hash() -> None:
    spec = make(*EVERY_KIND)
    again = RunSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.run_id == spec.run_id
    assert make().content_hash == RunSpec.model_validate(make().model_dump(exclude={"curriculum"})).content_hash
    others = [
        make(),
        make(MixturePhase(task=LinearMapSpec(size=4, sparsity=1), steps=5)),
        make(MixturePhase(task={"kind": "noise", "length": 4, "symbols": 2}, steps=5)),  # type: ignore[arg-type]
        make(MixturePhase(task={"kind": "sparse_parity", "bits": 4, "subset": 1}, steps=5)),  # type: ignore[arg-type]
        make(RowsPhase(number=2, steps=5)),
        make(RowsPhase(number=2, steps=6)),
        make(RowsPhase(number=2, steps=5), RowsPhase(number=2, steps=5)),
        make(RowsPhase(number=2, steps=5, until_solved=0.5)),
    ]
    assert len({each.content_hash for each in others}) == len(others)
    mixture: Any = others[2]
    assert [part.kind for part in mixture._list_parts()] == ["linear_map", "transformer", "mixture", "noise"]
    assert len({each.shape for each in others}) == len(others)
    for phase, different in ((OPEN[0], 2), (EVERY_KIND[0], 1)):  # the rule decides numbers where a phase ends by it
        rules = [make(phase).model_dump() | {"emergence": {"threshold": level}} for level in (0.5, 0.9)]
        assert len({RunSpec.model_validate(each).content_hash for each in rules}) == different
