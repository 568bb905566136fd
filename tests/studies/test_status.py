"""The time that a study still takes, from the runs of it that are finished."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console
from tests.test_kill import with_training

from saltus.paper.setting import linear_map
from saltus.specs import RunSpec, TransformerSpec
from saltus.studies.flops import count_flops
from saltus.studies.status import Standing, estimate_left, read_standings, tabulate_status
from saltus.train.folder import RunFolder


def make(name: str, width: int) -> RunSpec:
    return linear_map(name, model=TransformerSpec(d_model=width, heads=1), steps=100, seeds=2)


def finish(spec: RunSpec, seconds: float, device: str = "cpu") -> Standing:
    return Standing(spec, "finished", 100, seconds, device)


def wait(spec: RunSpec, step: int = 0) -> Standing:
    return Standing(spec, "begun" if step else "waiting", step, None, None)


def test_there_is_no_estimate_before_a_run_is_finished_there() -> None:
    small = make("a", 8)
    assert estimate_left([wait(small)], "cpu") is None
    assert estimate_left([finish(small, 5.0, "cuda"), wait(make("b", 16))], "cpu") is None


def test_a_run_is_expected_to_be_as_fast_as_the_finished_one_nearest_in_size() -> None:
    small, large = finish(make("small", 8), 10.0), finish(make("large", 128), 40.0)
    near = wait(make("near", 112))
    expected = 40.0 * count_flops(near.spec) / count_flops(large.spec)
    assert estimate_left([small, large, near], "cpu") == pytest.approx(expected)


def test_what_is_begun_counts_by_its_rest_and_what_has_two_names_once() -> None:
    done, begun = finish(make("done", 8), 10.0), wait(make("begun", 16), step=75)
    half = estimate_left([done, wait(make("begun", 16), step=50)], "cpu")
    assert half is not None
    assert estimate_left([done, begun], "cpu") == pytest.approx(half / 2)
    assert estimate_left([done, begun, wait(make("other-name", 16), step=75)], "cpu") == pytest.approx(half / 2)


def test_of_equally_near_runs_the_median_counts() -> None:
    finished = [finish(make(f"cell-{n}", 8), seconds) for n, seconds in enumerate((5.0, 10.0, 1000.0))]
    left = wait(make("left", 8))
    assert estimate_left([*finished, left], "cpu") == pytest.approx(10.0)


def test_a_run_that_failed_counts_by_its_rest_too() -> None:
    done, spec = finish(make("done", 8), 10.0), make("failed", 16)
    failed = Standing(spec, "failed", 75, None, None, "out of memory")
    assert estimate_left([done, failed], "cpu") == estimate_left([done, wait(spec, step=75)], "cpu")


def test_a_run_whose_folder_has_more_steps_ends_at_its_own(tiny: RunSpec, finished: RunFolder) -> None:
    spec = tiny.with_overrides(steps=20)
    assert finished.covers(spec)
    console = Console(record=True, width=120)
    console.print(tabulate_status([tiny, spec], finished.path.parent))
    steps = [line.split("│")[3:5] for line in console.export_text().splitlines() if "finished" in line]
    assert [[each.strip() for each in line] for line in steps] == [["40", "40"], ["20", "20"]]


def test_seeds_that_were_never_started_are_left_to_train(tiny: RunSpec, finished: RunFolder) -> None:
    more = tiny.with_overrides(seeds=tiny.seeds + 3)
    assert RunFolder.of(finished.path.parent, more).path == finished.path
    (standing,) = read_standings([more], finished.path.parent)
    assert (standing.state, standing.step) == ("begun", 0)
    assert standing.rest == 3 * tiny.training.steps * count_flops(tiny)


def test_a_damaged_checkpoint_hides_no_other_run(tiny: RunSpec, finished: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(shutil.copytree(finished.path, tmp_path / finished.path.name))
    (folder.path / "finished.json").unlink()
    next((folder.path / "checkpoints").glob("*/manifest.json")).write_text("{")
    other = tiny.model_copy(update={"name": "other"})
    standing, waiting = read_standings([tiny, with_training(other, steps=7)], tmp_path)
    assert (standing.state, "manifest.json" in standing.failure, waiting.state) == ("failed", True, "waiting")
