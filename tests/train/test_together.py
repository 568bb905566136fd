"""Runs of one shape that train together are what they are alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from saltus import api
from saltus.specs import BiasSpec, LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.train.ensemble import Ensemble, Member, list_members
from saltus.train.folder import RunFolder
from saltus.train.measures import MEASURES

CPU = torch.device("cpu")
STEPS = 40


def make(name: str, *, sparsity: int = 2, seeds: int = 2, bias: BiasSpec | None = None, **training: Any) -> RunSpec:
    """A run of a shape that all of them share, unless the bias differs."""
    return RunSpec(
        name=name,
        task=LinearMapSpec(size=5, sparsity=sparsity),
        model=TransformerSpec(d_model=16, heads=2, d_mlp=24),
        training=TrainingSpec(
            steps=STEPS,
            batch_sequences=16,
            compile=False,
            evaluation_sequences=16,
            evaluate=ScheduleSpec(every=5),
            snapshot=ScheduleSpec(every=20),
            checkpoint=ScheduleSpec(every=10),
            **training,
        ),
        intervention=bias,
        seeds=seeds,
    )


RUNS = [
    make("one"),
    make("other-map", sparsity=3, seeds=1),
    make("other-rate", learning_rate=1e-2, warmup=3, decay="cosine", betas=(0.5, 0.9), weight_decay=0.5),
    make("other-scale", initialisation_scale=3.0, seeds=1),
]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_what_is_learnt_may_differ_within_a_shape_and_what_is_computed_may_not() -> None:
    assert len({spec.shape for spec in RUNS}) == 1
    others = [make("more-steps").with_overrides(steps=50), make("biased", bias=BiasSpec(strength=1.0))]
    assert len({spec.shape for spec in [RUNS[0], *others]}) == 3


def test_on_a_cpu_every_seed_is_bit_equal_to_itself_alone() -> None:
    together = Ensemble(RUNS, list_members(RUNS), CPU, stacked=False)
    losses = together.advance(STEPS)
    for run, spec in enumerate(RUNS):
        alone = Ensemble([spec], list_members([spec]), CPU, stacked=False)
        expected = alone.advance(STEPS)
        for seed in range(spec.seeds):
            assert losses[Member(run, seed)] == expected[Member(0, seed)]
            state, alike = together.state()[Member(run, seed)], alone.state()[Member(0, seed)]
            assert all(np.array_equal(state[name], alike[name]) for name in alike)


@pytest.mark.parametrize("bias", [None, BiasSpec(strength=4.0)], ids=["plain", "biased"])
def test_stacked_every_seed_is_itself_but_for_rounding(bias: BiasSpec | None) -> None:
    specs = [make("one", bias=bias), make("rate", sparsity=3, learning_rate=3e-3, warmup=3, bias=bias)]
    together = Ensemble(specs, list_members(specs), CPU, stacked=True)
    losses = together.advance(STEPS)
    for run, spec in enumerate(specs):
        alone = Ensemble([spec], list_members([spec]), CPU, stacked=False)
        expected = alone.advance(STEPS)
        for seed in range(spec.seeds):
            assert losses[Member(run, seed)] == pytest.approx(expected[Member(0, seed)], rel=1e-5)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_run_that_retires_leaves_the_others_as_they_were(stacked: bool) -> None:
    unbroken = Ensemble(RUNS, list_members(RUNS), CPU, stacked=stacked)
    unbroken.advance(20)
    expected = unbroken.advance(STEPS)
    together = Ensemble(RUNS, list_members(RUNS), CPU, stacked=stacked)
    together.advance(20)
    together.retire([member for member in list_members(RUNS) if member.run in (0, 3)])
    losses = together.advance(STEPS)
    assert {member.run for member in losses} == {1, 2}
    assert losses == {member: expected[member] for member in losses}
    assert together.evaluate().keys() == together.state().keys() == losses.keys()


@pytest.mark.parametrize("stacked", [False, True])
def test_going_on_from_states_keeps_each_runs_moments_apart(stacked: bool) -> None:
    unbroken = Ensemble(RUNS, list_members(RUNS), CPU, stacked=stacked)
    unbroken.advance(11)
    saved = unbroken.state()
    expected = unbroken.advance(STEPS)
    resumed = Ensemble(RUNS, list_members(RUNS), CPU, stacked=stacked)
    resumed.load(11, saved)
    assert resumed.advance(STEPS) == expected


def assert_equal_records(one: RunFolder, other: RunFolder) -> None:
    a, b = one.records(), other.records()
    for name in (measure.name for measure in MEASURES):
        for column in a.tables[name].column_names:
            assert_array_equal(a.tables[name][column].to_numpy(), b.tables[name][column].to_numpy())
    assert_array_equal(a.snapshots.attention, b.snapshots.attention)


def test_records_are_those_of_runs_made_one_by_one(tmp_path: Path, in_this_process: None) -> None:
    together = api.run_all(RUNS, out=tmp_path / "together", device="cpu")
    for spec, folder in zip(RUNS, together, strict=True):
        assert_equal_records(folder, api.run(spec, out=tmp_path / "alone", device="cpu"))


def test_one_that_stops_early_is_finished_while_the_others_go_on(tmp_path: Path, in_this_process: None) -> None:
    easy = make("easy", sparsity=1, seeds=1, learning_rate=1e-2, warmup=1, stop_when_solved=True)
    easy = RunSpec.model_validate(easy.model_dump() | {"emergence": {"threshold": 0.05, "hold": 1}})
    hard = make("hard", sparsity=3, learning_rate=1e-5, stop_when_solved=True)
    easy, hard = easy.with_overrides(steps=100), hard.with_overrides(steps=100)
    folders = api.run_all([easy, hard], out=tmp_path, device="cpu")
    last = [folder.summary()["last_step"] for folder in folders]
    assert last[0] < last[1] == 100
    assert_equal_records(folders[1], api.run(hard, out=tmp_path / "alone", device="cpu"))


def test_runs_at_different_checkpoints_go_on_apart(
    tmp_path: Path, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(BaseException):
        pass

    commit = RunFolder.commit
    commits: list[tuple[str, int]] = []

    def fail_once(self: RunFolder, step: int, *arguments: Any) -> None:
        commits.append((self.path.name, step))
        if len(commits) == 2 + 2 * len(RUNS):  # the second run's third checkpoint; the first run has its own by then
            raise Stop
        commit(self, step, *arguments)

    monkeypatch.setattr(RunFolder, "commit", fail_once)
    with pytest.raises(Stop):
        api.run_all(RUNS, out=tmp_path / "broken", device="cpu")
    monkeypatch.setattr(RunFolder, "commit", commit)
    steps = [RunFolder(tmp_path / "broken" / spec.run_id).checkpoint_steps()[-1] for spec in RUNS]
    assert len(set(steps)) == 2
    broken = api.run_all(RUNS, out=tmp_path / "broken", device="cpu")
    for one, other in zip(broken, api.run_all(RUNS, out=tmp_path / "unbroken", device="cpu"), strict=True):
        assert_equal_records(one, other)
