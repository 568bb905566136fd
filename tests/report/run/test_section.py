"""The section on a run: complete whatever the run came to."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.report.page import HOSTILE, render

from saltus.curves import Rule
from saltus.specs import CustomSpec, RunSpec
from saltus.train.records import RunRecords, SnapshotRows, Snapshots

Build = Callable[..., RunRecords]


def test_page_states_the_result_and_every_number(three_seeds: RunRecords, tmp_path: Path) -> None:
    page = render(tmp_path, three_seeds)
    assert "1 of 3 seeds learned all 2 rows within 80 steps" in page.text
    assert "3 of 6 rows emerged" in page.text
    assert "0 whole task 30 40 0.0000 1.000 1.000 1.000" in page.text
    assert "0 row 0 10 20 0.0000 1.000 1.000 1.000 0.1 1.000" in page.text
    # Its last evaluation, at 80, could not have been confirmed at another one: what is known ends at 70.
    assert "2 row 1 70 > 70 0.6931 0.500 0.500 0.000" in page.text
    assert "2 whole task 70 > 70 0.6931 0.500 0.500 0.000" in page.text
    assert len(page.plots) == 6
    assert len(page.find("figure")) == len(page.find("figcaption")) == 7


def test_the_numbers_of_the_whole_task_are_those_of_its_queries(build: Build, tmp_path: Path) -> None:
    progress = np.zeros((1, 4, 2))
    progress[0, 1:, 0] = 1.0
    records = build(progress)
    page = render(tmp_path, records)
    loss, accuracy = (records.cube("steps", name)[0, -1] for name in ("scored_loss", "accuracy"))
    assert f"0 whole task 20 > 20 {loss:.4f} {accuracy:.3f} 0.750 0.000" in page.text  # the least progress of its rows


def test_another_rule_moves_the_emergences_and_nothing_else(three_seeds: RunRecords, tmp_path: Path) -> None:
    page = render(tmp_path, three_seeds.reread(Rule(above=0.9, hold=4)))
    assert "1 row 0 50 > 50 0.6931" in page.text  # lost at 50, after three evaluations
    assert "0 row 0 10 20 0.0000" in page.text
    assert "Emergence, progress of at least 0.9 at 4 evaluations in a row, is between" in page.text


@pytest.mark.parametrize("finished", [True, False])
def test_corners_and_unfinished_runs_are_warned_of(build: Build, tmp_path: Path, finished: bool) -> None:
    text = render(tmp_path, build(np.zeros((1, 4, 2)), corners=["All rows agree."], finished=finished)).text
    assert "All rows agree." in text
    assert ("This run is not finished" in text) is not finished


def test_a_run_where_nothing_emerged(build: Build, tmp_path: Path) -> None:
    page = render(tmp_path, build(np.zeros((3, 4, 2))))
    assert "None of 3 seeds learned all 2 rows" in page.text
    assert "there is no jump to look at" in page.sections[0]["figures"]["jumps"]["views"]["0"]["caption"]


def test_one_diverged_seed(build: Build, tmp_path: Path) -> None:
    page = render(tmp_path, build(np.full((1, 4, 2), np.nan)))
    assert "The one seed learned 0 of 2 rows" in page.text
    assert page.text.count("\N{EN DASH}") >= 4


def test_an_unknown_floor(build: Build, tmp_path: Path) -> None:
    page = render(tmp_path, build(np.zeros((2, 4, 2)), floor=np.nan))
    assert "the smallest reachable loss is not known" in page.text


def test_one_evaluation_and_no_snapshot(build: Build, tmp_path: Path) -> None:
    records = build(np.zeros((2, 1, 2)))
    none = Snapshots(np.arange(0), records.snapshots.attention[:0])
    page = render(tmp_path, replace(records, kept=SnapshotRows.of(none)))
    assert page.sections[0]["maps"] == {}
    assert not page.find("canvas")


def test_an_automaton_fits(build: Build, tmp_path: Path) -> None:
    progress = np.linspace(0.0, 1.0, 3)[None, :, None] * np.ones((2, 1, 16))
    names = [f"cell {cell}" for cell in range(16)]
    records = build(progress, needed=3, states=16, layers=4, heads=8, names=names)
    page = render(tmp_path, records)
    assert len(page.scripts[1]) < 4_000_000
    assert "upper bound" in page.text
    assert page.sections[0]["maps"]["attention"]["views"][0]["labels"] == [str(cell) for cell in range(16)]


def test_many_seeds_are_offered_from_best_to_worst(build: Build, tmp_path: Path) -> None:
    at = np.arange(41)[None, :, None]
    progress = (at >= np.arange(40, 0, -1)[:, None, None]).repeat(2, axis=2).astype(float)
    page = render(tmp_path, build(progress))  # the last seed is the first to learn
    section = page.sections[0]
    assert len(section["figures"]["unit-losses"]["views"]) == len(page.find("option")) == 16
    assert section["choices"] == {"seed": 15}
    assert "16 of 40 seeds, from the best to the worst" in page.text
    losses = section["figures"]["losses"]
    marked = {trace["name"]: trace["meta"].get("seed") for trace in losses["views"][""]["figure"]["data"]}
    assert (losses["marks"], marked["seed 0"], marked["seed 1"], marked["seed 39"]) == (["seed"], 0, None, 15)


def test_the_seed_shown_first_learned_most_and_soonest(build: Build, tmp_path: Path) -> None:
    at = np.arange(9)[:, None]
    starts = np.array([[[2, 9]], [[3, 7]], [[1, 5]]])
    page = render(tmp_path, build((at >= starts).astype(float)))
    assert page.sections[0]["choices"] == {"seed": 2}


def test_several_runs_are_compared(build: Build, three_seeds: RunRecords, tmp_path: Path) -> None:
    page = render(tmp_path, three_seeds, build(np.zeros((2, 5, 3)), name="other"))
    assert "The runs side by side 1 of 5 seeds of 2 runs learned everything." in page.text
    assert "small 3 1 not reached [0, ∞] 20 to 30 3 of 6 80" in page.text
    assert "other 2 0 not reached [0, ∞] \N{EN DASH} 0 of 6 40" in page.text
    assert [bool(section["figures"]) for section in page.sections] == [False, True, True]


def test_code_of_a_module_of_one_s_own_is_shown_and_not_run(three_seeds: RunRecords, tmp_path: Path) -> None:
    code = f"class Own:\n    text = {HOSTILE!r}\n    def __init__(self, d, q, heads=1): pass\n"
    model = CustomSpec(name="Own", source=code, options={"heads": 2, "label": HOSTILE}, d_model=8)
    spec = RunSpec.model_validate(three_seeds.spec.model_dump() | {"model": model})
    tables = {**three_seeds.tables, "heads": three_seeds.tables["heads"].slice(0, 0)}
    none = Snapshots(np.arange(0), three_seeds.snapshots.attention[:0])
    page = render(tmp_path, replace(three_seeds, spec=spec, tables=tables, kept=SnapshotRows.of(none)))
    assert page.find("img") == []
    assert " ".join(code.split()) in page.text
    assert f"heads 2, label {HOSTILE}" in page.text
    assert "Own (custom), 1 layer" in page.text
    assert "Attention was not measured in this run" in page.text
    assert "The code of its model" not in render(tmp_path, three_seeds).text
