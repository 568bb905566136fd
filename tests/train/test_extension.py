"""A run takes more seeds and more steps, and ends as if all had been asked for at once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tests.test_kill import assert_equal_runs, with_training

from saltus import api
from saltus.errors import SaltusError
from saltus.specs import EmergenceSpec, RunSpec
from saltus.studies.sources import RunFolders
from saltus.studies.status import read_standings
from saltus.train.archive import Archive
from saltus.train.ensemble import Ensemble, Member
from saltus.train.folder import RunFolder
from saltus.train.loop import find_behind
from saltus.train.measures import Column, Measure
from saltus.train.records import SnapshotRows, Snapshots

pytestmark = pytest.mark.usefixtures("in_this_process")

Saltus = Callable[..., tuple[int, str, str]]


LEVEL = 0.04
"""Of progress, at which seeds stop."""


def run(spec: RunSpec, out: Path) -> RunFolder:
    return api.run(spec, out=out, device="cpu")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, int]]:
    """By seed, the step from which and the step to which it was trained."""
    seen: dict[int, tuple[int, int]] = {}
    advance = Ensemble.advance

    def spy(self: Ensemble, step: int) -> Any:
        losses = advance(self, step)
        for member, loss in losses.items():
            begun, _ = seen.get(member.seed, (step - loss.steps, step))
            seen[member.seed] = begun, step
        return losses

    monkeypatch.setattr(Ensemble, "advance", spy)
    return seen


@pytest.fixture
def solving(tiny: RunSpec) -> RunSpec:
    """Its seeds reach a low level at different steps, and stop there by themselves."""
    task = tiny.task.model_dump() | {"sparsity": 1}
    rule = {"threshold": LEVEL, "hold": 2}
    spec = RunSpec.model_validate(tiny.model_dump() | {"task": task, "emergence": rule, "seeds": 4})
    return with_training(spec, stop_when_solved=True, learning_rate=0.02, warmup=1, steps=100)


@pytest.mark.parametrize(
    ("first", "then"),
    [((2, 20), (4, 20)), ((2, 20), (2, 40)), ((2, 20), (4, 40)), ((4, 20), (2, 40))],
    ids=["more seeds", "more steps", "both", "fewer seeds for more steps"],
)
def test_what_is_added_is_what_it_would_have_been(
    tiny: RunSpec, tmp_path: Path, first: tuple[int, int], then: tuple[int, int], trained: dict[int, tuple[int, int]]
) -> None:
    before, after = (tiny.with_overrides(seeds=seeds, steps=steps) for seeds, steps in (first, then))
    folder = run(before, tmp_path / "apart")
    trained.clear()
    assert run(after, tmp_path / "apart").path == folder.path
    # Nothing that was there is trained again.
    begun = {seed: first[1] if seed < first[0] else 0 for seed in range(then[0])}
    assert trained == {seed: (step, then[1]) for seed, step in begun.items() if step < then[1]}
    together = run(after, tmp_path / "together")
    seen = RunFolders(tmp_path / "apart").find(after)
    assert seen is not None
    for name, table in together.records().tables.items():
        for column in table.column_names:
            assert_array_equal(_sort(seen.tables[name])[column], _sort(table)[column], err_msg=f"{name}.{column}")
    assert_array_equal(seen.snapshots.steps, together.records().snapshots.steps)
    assert_array_equal(seen.snapshots.attention, together.records().snapshots.attention)
    if then >= first:
        assert folder.spec() == after
    # What was asked for first is there as it was.
    again = RunFolders(tmp_path / "apart").find(before)
    alone = run(before, tmp_path / "alone").records()
    assert again is not None
    assert_array_equal(again.cube("heads", "entropy"), alone.cube("heads", "entropy"))
    assert_array_equal(again.snapshots.attention, alone.snapshots.attention)


def _sort(table: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a table, by seed, step and whatever follows."""
    keys = [name for name in table.column_names if table[name].type == "int32"]
    order = np.lexsort([table[name].to_numpy() for name in reversed(keys)])
    return {name: table[name].to_numpy()[order] for name in table.column_names}


def test_an_extension_that_is_killed_anywhere_goes_on_and_loses_nothing(
    tiny: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends at each commit of the extension, once before it and once after, and in the middle of its end."""

    class Kill(BaseException):
        pass

    after = tiny.with_overrides(seeds=3, steps=40)
    unbroken = run(after, tmp_path / "unbroken")
    before = tiny.with_overrides(seeds=1, steps=20)
    folder = run(before, tmp_path / "broken")
    first = folder.records().cube("units", "loss")
    kills = 0
    commit, conclude = RunFolder.commit, RunFolder.conclude
    write = RunFolder._write  # pyright: ignore[reportPrivateUsage]
    seen: set[tuple[Any, ...]] = set()

    def kill_once(*moment: Any) -> None:
        if moment not in seen:
            seen.add(moment)
            raise Kill

    def broken_commit(self: RunFolder, step: int, states: Any, *rest: Any) -> None:
        kill_once("before", step, min(states))
        commit(self, step, states, *rest)
        kill_once("after", step, min(states))

    def broken_conclude(self: RunFolder) -> None:
        kill_once("conclude")
        conclude(self)
        kill_once("concluded")

    def broken_write(self: RunFolder, path: Path, fill: Any) -> None:
        write(self, path, fill)
        if path.name == "finished.json":
            kill_once("finished")

    for name, broken in (("commit", broken_commit), ("conclude", broken_conclude), ("_write", broken_write)):
        monkeypatch.setattr(RunFolder, name, broken)
    while True:
        try:
            run(after, tmp_path / "broken")
            break
        except Kill:
            kills += 1
            if not folder.covers(after):  # what was finished stays so
                assert folder.spec() == before
                assert_array_equal(folder.records().cube("units", "loss"), first)
    assert kills > 20
    assert_equal_runs(folder, unbroken)


def test_each_seed_stops_by_itself_and_leaves_the_others_as_they_were(solving: RunSpec, tmp_path: Path) -> None:
    together = run(solving, tmp_path / "together").records()
    last = together.last_steps
    assert len(set(last.values())) > 1
    assert max(last.values()) < 100
    for seed in range(4):
        curve = together.curves.wholes.select(seed=str(seed))[0]
        solved = curve.values >= LEVEL
        assert curve.steps[-1] == last[seed]
        assert solved[-2:].all()  # as soon as it has held for two evaluations
        assert not (solved[:-2] & solved[1:-1]).any()
    # One after the other, as seeds that are asked for later.
    folder = [run(solving.with_overrides(seeds=seeds), tmp_path / "apart") for seeds in range(1, 5)][-1]
    apart = folder.records()
    assert apart.last_steps == last
    for name, table in together.tables.items():
        for column in table.column_names:
            assert_array_equal(_sort(apart.tables[name])[column], _sort(table)[column])
    assert_array_equal(apart.snapshots.steps, together.snapshots.steps)
    assert_array_equal(apart.snapshots.attention, together.snapshots.attention)
    # Nobody who has stopped goes on.
    assert find_behind(folder, solving.with_overrides(steps=200)) == (200, ())


def test_a_seed_that_has_stopped_keeps_its_last_values(solving: RunSpec, tmp_path: Path) -> None:
    folder = run(solving, tmp_path)
    records, last = folder.records(), folder.records().last_steps
    steps, first = records.evaluated_steps, min(last, key=lambda seed: last[seed])
    loss = records.cube("units", "loss")[first]  # [evaluation, unit]
    at = int(np.searchsorted(steps, last[first]))
    assert_array_equal(loss[at:], np.broadcast_to(loss[at], loss[at:].shape))
    assert records.snapshots.steps[-1] == max(last.values())
    assert set(records.snapshots.steps.tolist()) <= {*solving.training.snapshot.list_steps(100), max(last.values())}
    # It is what its weights give.
    ensemble = Ensemble([solving], [Member(0, first)], _cpu(), stacked=False)
    weights = folder.weights(last[first], first)
    zeros = {name: np.zeros(sum(value.size for value in weights.values()), np.float32) for name in MOMENTS}
    ensemble.load(last[first], {Member(0, first): weights | zeros})
    (evaluation,) = ensemble.evaluate().values()
    assert_array_equal(records.facts.mean_by_unit(evaluation.loss), loss[-1])
    assert_array_equal(
        records.snapshots.attention[-1, first], evaluation.pattern[:, :, records.facts.scored].astype(np.float16)
    )


MOMENTS = ("exp_avg", "exp_avg_sq")


def _cpu() -> Any:
    import torch

    return torch.device("cpu")


@pytest.mark.parametrize(
    ("training", "prolongable"),
    [
        ({}, True),
        ({"decay": "cosine"}, False),
        ({"steps": 35}, False),  # evaluated only as the last step
        ({"steps": 8}, True),
        ({"snapshot": {"every": 30}}, False),
        ({"snapshot": {"every": 30}, "patterns": False}, True),
        ({"checkpoint": {"every": 30}}, True),
    ],
)
def test_a_run_that_is_no_beginning_of_a_longer_one_has_a_folder_of_its_own(
    tiny: RunSpec, training: dict[str, Any], prolongable: bool
) -> None:
    spec = with_training(tiny, **training)
    assert spec.prolongable is prolongable
    longer = spec.with_overrides(steps=80)
    assert (longer.folder_hashes[0] == spec.folder_hashes[0]) is prolongable
    more = spec.with_overrides(seeds=7)
    assert more.folder_hashes[0] == spec.folder_hashes[0]
    assert len({each.content_hash for each in (spec, longer, more)}) == 3


def test_a_run_that_falls_over_all_steps_starts_anew_and_says_why(
    tiny: RunSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = with_training(tiny, decay="cosine")
    short, long = spec.with_overrides(steps=20), spec
    folders = run(short, tmp_path), run(long, tmp_path)
    assert folders[0].path != folders[1].path
    assert "starts anew beside the run of 20: its learning rate falls over all its steps" in " ".join(
        capsys.readouterr().out.split()
    )
    assert_equal_runs(folders[1], run(long, tmp_path / "alone"))


def test_cells_that_are_changed_train_the_difference(
    tiny: RunSpec, tmp_path: Path, saltus: Saltus, trained: dict[int, tuple[int, int]]
) -> None:
    study, out = tmp_path / "study.py", tmp_path / "runs"
    text = "from saltus import *\nstudy = Study(cells=[Cell(heads=2, run=RunSpec(**{}))])\n"
    values = tiny.model_dump() | {"name": "run"}
    study.write_text(text.format(repr(values | {"seeds": 2})))
    assert saltus("run", study, "--out", out, "--device", "cpu")[0] == 0
    assert trained.keys() == {0, 1}
    trained.clear()
    study.write_text(text.format(repr(values | {"seeds": 5})))
    assert "waiting" not in saltus("status", study, "--out", out)[1]
    code, _, error = saltus("run", study, "--out", out, "--device", "cpu")
    assert (code, error) == (0, "")
    assert trained.keys() == {2, 3, 4}
    assert "the run is finished" in saltus("status", study, "--out", out)[1]
    assert "is finished already" in saltus("run", study, "--seeds", "3", "--out", out, "--device", "cpu")[1]
    assert len([path for path in out.iterdir() if path.name != "study"]) == 1


def test_a_run_that_a_version_before_has_finished_takes_more_seeds(
    finished: RunFolder, tiny: RunSpec, tmp_path: Path
) -> None:
    """Its name has the hash of its seeds and steps too, its snapshots an axis of seeds, its checkpoints no moments."""
    import json
    import shutil

    from safetensors.numpy import load_file, save_file

    from saltus.storage.files import list_hashes

    path = tmp_path / f"tiny-{tiny.content_hash}"
    shutil.copytree(finished.path, path)
    (path / "finished.json").write_text(json.dumps({"last_step": 40}))
    for file in path.glob("*/*/moments-*"):
        file.unlink()
    for file in [*path.glob("checkpoints/*/patterns.safetensors"), path / "records" / "patterns.safetensors"]:
        rows = SnapshotRows.from_arrays(load_file(file))
        dense = rows.align() if len(rows.steps) else Snapshots(rows.steps, rows.attention[:, None].repeat(2, 1))
        save_file({"steps": dense.steps, "patterns": np.ascontiguousarray(dense.attention)}, file)
        listed = json.loads((file.parent / "manifest.json").read_text())
        list_hashes(file.parent)
        made = json.loads((file.parent / "manifest.json").read_text())
        (file.parent / "manifest.json").write_text(json.dumps(listed | {k: made[k] for k in made if k in listed}))
    more = tiny.with_overrides(seeds=4)
    assert RunFolder.of(tmp_path, tiny).path == path
    folder = run(more, tmp_path)
    assert folder.path == path
    assert_equal_runs(folder, run(more, tmp_path / "together"))
    # It kept no moments, so it takes no more steps, and a longer run is made beside it.
    longer = run(tiny.with_overrides(steps=80), tmp_path)
    assert longer.path.name == f"tiny-{tiny.folder_hashes[0]}"
    assert longer.spec().training.steps == 80


def test_an_archive_finds_a_part_of_what_it_has(tiny: RunSpec, tmp_path: Path) -> None:
    large = run(tiny.with_overrides(seeds=3), tmp_path)
    Archive(tmp_path / "kept").add("pack", [large.records()])
    part = tiny.with_overrides(seeds=2, steps=20)
    found = Archive(tmp_path / "kept").find(part)
    assert found is not None
    alone = run(part, tmp_path / "alone").records()
    assert_array_equal(found.cube("units", "loss"), alone.cube("units", "loss"))
    assert_array_equal(found.snapshots.attention, alone.snapshots.attention)
    for other in (tiny.with_overrides(seeds=4), tiny.with_overrides(steps=80)):
        assert Archive(tmp_path / "kept").find(other) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("last_step", "60 steps"), ("seconds", []), ("seconds", float("nan")), ("seed_steps", 1e308), ("processes", -1)],
)
def test_a_summary_with_something_else_than_numbers_is_named(
    finished: RunFolder, tiny: RunSpec, tmp_path: Path, name: str, value: object
) -> None:
    import json
    import shutil

    folder = RunFolder(tmp_path / finished.path.name)
    shutil.copytree(finished.path, folder.path)
    summary = folder.summary()
    assert read_standings([tiny], tmp_path)[0].state == "finished"
    (folder.path / "finished.json").write_text(json.dumps(summary | {name: value}))
    with pytest.raises(SaltusError, match=rf"finished\.json has .* as {name}, a number; delete it"):
        read_standings([tiny], tmp_path)


@pytest.mark.parametrize("asked", ["3", "[]", "[40, 0]", '["40"]', "[40, 40.5]"])
def test_a_summary_that_does_not_say_how_far_seeds_went_is_named(
    finished: RunFolder, tiny: RunSpec, tmp_path: Path, asked: str
) -> None:
    import shutil

    folder = RunFolder(tmp_path / finished.path.name)
    shutil.copytree(finished.path, folder.path)
    (folder.path / "finished.json").write_text(f'{{"last_step": 40, "asked": {asked}}}')
    with pytest.raises(SaltusError, match=r"finished\.json does not say for how many steps each seed was asked"):
        folder.covers(tiny)
    (folder.path / "finished.json").unlink()
    run(tiny, tmp_path)
    assert folder.covers(tiny)
    assert_array_equal(folder.records().cube("units", "loss"), finished.records().cube("units", "loss"))


def test_rows_of_seeds_that_ended_at_different_steps_are_aligned() -> None:
    """Seed 1 stops at 15: what it has there stands for it from then on, and seed 0 has nothing at 15."""
    steps, seeds = np.array([0, 10, 20, 0, 10, 15]), np.array([0, 0, 0, 1, 1, 1])
    value = np.array([0, 1, 2, 10, 11, 12], np.float16)
    rows = SnapshotRows(steps, seeds, value[:, None, None, None, None], np.zeros((0, 1, 1), np.float32))
    aligned = rows.align()
    assert_array_equal(aligned.steps, [0, 10, 20])
    assert_array_equal(aligned.attention[..., 0, 0, 0, 0], [[0, 10], [1, 11], [2, 12]])


def measure_loss(name: str = "largest", axes: tuple[str, ...] = ()) -> Measure:
    shape = (-1, *[1] * len(axes))
    return Measure("mine", axes, (Column(name, ""),), lambda e: {name: e.stack("loss").max(-1).reshape(shape)})


@pytest.mark.parametrize("changed", [measure_loss("smallest"), measure_loss(axes=("head",))], ids=["column", "axis"])
def test_a_measure_that_has_changed_is_refused_before_anything_is_trained(
    tiny: RunSpec, tmp_path: Path, changed: Measure, trained: dict[int, tuple[int, int]]
) -> None:
    folder = api.run(tiny.with_overrides(seeds=1), out=tmp_path, device="cpu", measures=[measure_loss()])
    before = folder.records().cube("mine", "largest")
    trained.clear()
    with pytest.raises(SaltusError, match=r"measure 'mine' has .*, and .* has recorded largest \(double\) under that"):
        api.run(tiny, out=tmp_path, device="cpu", measures=[changed])
    assert trained == {}
    assert_array_equal(folder.records().cube("mine", "largest"), before)
    api.run(tiny, out=tmp_path, device="cpu", measures=[measure_loss()])
    assert_array_equal(folder.records().cube("mine", "largest")[:1], before)


def test_a_measure_that_a_finished_run_lacks_is_told(
    finished: RunFolder, tiny: RunSpec, capsys: pytest.CaptureFixture[str], trained: dict[int, tuple[int, int]]
) -> None:
    out = finished.path.parent
    for measures in ((), (measure_loss(),)):
        assert api.run(tiny, out=out, device="cpu", measures=measures).path == finished.path
        said = capsys.readouterr().out
        assert f"{finished.path} is finished already" in said
        told = f"note: {finished.path} was trained without mine; to record it, train in another folder"
        assert (told in said) == bool(measures)
    assert trained == {}


def test_a_finished_run_stays_readable_when_its_rows_cannot_be_gathered(
    tiny: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(tiny.with_overrides(seeds=1), tmp_path)
    before = folder.records().cube("units", "loss")

    def fail(folder: RunFolder, to: Path) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "gather", fail)
        with pytest.raises(ZeroDivisionError):
            run(tiny, tmp_path)
    assert folder.gathered
    assert_array_equal(folder.records().cube("units", "loss"), before)
    run(tiny, tmp_path)
    assert folder.records().seeds == [0, 1]
    assert not list(folder.path.glob("*.partial"))


@pytest.mark.parametrize("first", [True, False])
def test_a_measure_that_some_seeds_lack_has_the_seeds_and_steps_of_the_run(
    tiny: RunSpec, tmp_path: Path, first: bool
) -> None:
    mine = [measure_loss()]
    api.run(tiny.with_overrides(seeds=1), out=tmp_path, device="cpu", measures=mine if first else [])
    folder = api.run(tiny, out=tmp_path, device="cpu", measures=[] if first else mine)
    records = folder.records()
    measured, expected = records.cube("mine", "largest"), records.cube("positions", "loss").max(-1)
    there = 0 if first else 1
    assert_array_equal(measured[there], expected[there])
    assert np.isnan(measured[1 - there]).all()
    api.report([folder], to=tmp_path / "report.html")


@pytest.mark.parametrize("kept", [1, 0], ids=["the newest checkpoint is left", "no checkpoint is left"])
def test_checkpoints_that_were_deleted_to_free_the_disk_take_no_records_with_them(
    tiny: RunSpec, tmp_path: Path, kept: int, trained: dict[int, tuple[int, int]]
) -> None:
    folder = run(tiny, tmp_path / "apart")
    checkpoints = sorted((folder.path / "checkpoints").iterdir())
    assert len(checkpoints) > 1
    for path in checkpoints[: len(checkpoints) - kept]:
        shutil.rmtree(path)
    trained.clear()
    more = tiny.with_overrides(seeds=tiny.seeds + 1)
    run(more, tmp_path / "apart")
    assert set(trained) == {tiny.seeds}
    whole = run(more, tmp_path / "together").records()
    for name, table in whole.tables.items():
        for column in table.column_names:
            seen = _sort(folder.records().tables[name])[column]
            assert_array_equal(seen, _sort(table)[column], err_msg=f"{name}.{column}")
    assert_array_equal(folder.records().snapshots.attention, whole.snapshots.attention)
    assert folder.records().snapshots.steps.tolist() == whole.snapshots.steps.tolist()


def test_a_finished_run_that_is_asked_for_by_another_rule_says_by_which_it_is_read(
    tiny: RunSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny, tmp_path)
    asked = tiny.model_copy(update={"emergence": EmergenceSpec(threshold=0.1, hold=1)})
    capsys.readouterr()
    folder = run(asked, tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert "is read by threshold 0.9 and hold 2, by which it was trained, and not by threshold 0.1 and hold 1" in told
    assert folder.records().rule.hold == 2
    run(tiny, tmp_path)
    assert "is read by" not in capsys.readouterr().out
