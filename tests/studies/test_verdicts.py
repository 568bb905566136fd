"""How a study's verdicts treat what is censored, and what cannot tell."""

import runpy
from collections.abc import Sequence
from math import inf, log
from pathlib import Path
from typing import Any

import pytest
from tests.studies.arms import invent

from saltus.paper.distance import Target, average, measure_jumps, measure_plateau, rank_settings
from saltus.paper.setting import linear_map, plateau
from saltus.studies.cells import Cell, Value
from saltus.studies.results import Result, Results
from saltus.studies.study import Study, load_study

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def plateaus() -> dict[str, Any]:
    return runpy.run_path(str(STUDIES / "automaton_plateau.py"))


@pytest.fixture(scope="module")
def batch() -> Study:
    return load_study(STUDIES / "automaton_batch.py")


@pytest.fixture(scope="module")
def refit() -> Study:
    return load_study(STUDIES / "automaton_refit.py")


@pytest.fixture(scope="module")
def calibration() -> Study:
    return load_study(STUDIES / "calibration.py")


def fall(cell: Cell, *ends: int | None) -> Result:
    """A seed for each step at which the training loss falls from 1.38 to 1 nat, on a grid of 20 steps."""
    steps = range(0, cell.run.training.steps + 1, 20)
    return invent(
        cell,
        [
            {"seed": seed, "step": step, "train_loss": 1.0 if end is not None and step >= end else 1.38}
            for seed, end in enumerate(ends)
            for step in steps
        ],
    )


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ([40, 300, 500], "reproduced"),
        ([40, 300, inf], "reproduced"),  # past its budget, and so later
        ([40, inf, inf], "in part"),  # of the last two nothing is known
        ([inf, inf], "not measured"),
        ([300, 40, 500], "in part"),
        ([500, 300], "not reproduced"),
    ],
)
def test_a_plateau_grows_only_where_two_ends_tell(plateaus: dict[str, Any], ends: list[float], verdict: str) -> None:
    assert plateaus["_judge_longer"](ends) == verdict


@pytest.mark.parametrize(
    ("without", "with_bias", "budget", "verdict"),
    [
        (inf, 200.0, 300, "reproduced"),
        (400.0, inf, 500, "not reproduced"),
        (400.0, inf, 300, "not measured"),  # cut off before the other's end
        (inf, inf, 300, "not measured"),
    ],
)
def test_a_bias_shortens_only_what_was_watched_for_long_enough(
    plateaus: dict[str, Any], without: float, with_bias: float, budget: int, verdict: str
) -> None:
    assert plateaus["_judge_shorter"]([(without, with_bias, budget)]) == verdict


def test_a_bias_that_was_not_watched_for_long_enough_once_shortens_in_part(plateaus: dict[str, Any]) -> None:
    assert plateaus["_judge_shorter"]([(inf, 200.0, 300), (inf, inf, 300)]) == "in part"


@pytest.mark.parametrize(
    ("short", "long", "whole", "verdict"),
    [
        (300.0, 400.0, True, "reproduced"),
        (300.0, inf, False, "in part"),  # at laptop size
        (400.0, 300.0, True, "not reproduced"),
        (inf, 300.0, True, "not reproduced"),
        (inf, inf, True, "not measured"),
    ],
)
def test_trajectories_are_compared_only_where_a_plateau_ended(
    short: float, long: float, whole: bool, verdict: str
) -> None:
    judge = runpy.run_path(str(STUDIES / "trajectory_length.py"))["_judge_longer"]
    assert judge(short, long, whole=whole) == verdict


@pytest.mark.parametrize(
    ("ends", "verdict", "told"),
    [
        ({}, "not measured", "0.003: not run; 0.01: not run; 0.001: not run"),
        ({3e-3: None}, "not reproduced", "0.003: > 600; 0.01: not run; 0.001: not run"),
        ({3e-3: 240, 1e-3: 580}, "not reproduced", "0.003: 240; 0.001: 580; 0.01: not run"),  # too soon, too late
        ({3e-3: 260}, "reproduced", "0.003: 260; 0.01: not run; 0.001: not run"),
        ({3e-3: None, 1e-2: 560, 1e-3: None}, "in part", "0.003: > 600; 0.01: 560; 0.001: > 600"),
    ],
)
def test_the_batch_decides_where_the_plateau_ends_in_time_at_one_rate(
    batch: Study, ends: dict[float, int | None], verdict: str, told: str
) -> None:
    assert batch.judge
    assert batch.compare
    cells = {cell.key["rate"]: cell for cell in batch.cells if "again" not in cell.key}
    assert set(cells) == {3e-3, 1e-2, 1e-3}
    results = Results([fall(cells[rate], end) for rate, end in ends.items()], batch.cells)
    (claim,) = batch.judge(results)
    assert claim.text.startswith("the batch is what decides: with 131,072 tokens")
    assert claim.verdict == verdict
    assert claim.why == f"step at which it ends, by rate: {told}"
    rows = [row for row in batch.compare(results) if row.scale != "arithmetic"]
    assert [(row.theirs, list(row.ours)) for row in rows] == [(377, [end]) for end in ends.values()]


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ([420, 440, 380, 300], "reproduced"),
        ([420, 440, 380, 240], "in part"),  # of the seeds of one rate not all
        ([420, 440, 380, None], "in part"),
        ([200, 220, 240, None], "not reproduced"),
    ],
)
@pytest.mark.parametrize("steps", [500, 600])
def test_the_batch_decides_where_all_seeds_of_the_rate_with_most_of_them_end_in_time(
    batch: Study, ends: Sequence[int | None], verdict: str, steps: int
) -> None:
    assert batch.judge
    cells = [cell.change(seeds=None, steps=steps) for cell in batch.cells if cell.key["rate"] == 3e-3]
    verdict = "open" if verdict == "not reproduced" and steps < 565 else verdict  # what ended too soon says nothing
    claim = batch.judge(Results([fall(cell, end) for cell, end in zip(cells, ends, strict=True)], batch.cells))[0]
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("low", "verdict", "told"),
    [
        (440, "reproduced", "420 in float32, 440 in bfloat16, of one seed"),
        (480, "not reproduced", "420 in float32, 480 in bfloat16, of one seed"),
        (360, "not reproduced", "420 in float32, 360 in bfloat16, of one seed"),
        (None, "not reproduced", "420 in float32, censored in bfloat16, of one seed"),
    ],
)
def test_a_precision_is_harmless_where_the_same_seed_ends_at_the_same_step(
    batch: Study, low: int | None, verdict: str, told: str
) -> None:
    assert batch.judge
    exact, again, other = (
        next(cell for cell in batch.cells if cell.key.get("rate") == 3e-3 and cell.key.get("again") == i)
        for i in (None, 0, 1)
    )
    results = Results([fall(exact, 420), fall(again, low), fall(other, 900)], batch.cells)
    claim = batch.judge(results)[1]
    assert (claim.verdict, claim.why) == (verdict, told)


def test_the_batch_is_tried_by_the_runs_that_are_being_trained(batch: Study) -> None:
    """Their folders are of the version before, which had seeds and steps in the name."""
    assert [f"{cell.name}-{cell.run.content_hash}" for cell in batch.cells][:2] == [
        "batch-131072-3e-3-6c4ea36636",
        "batch-131072-1e-2-85060e4c99",
    ]


def make_target(kind: str, *distances: float, censored: int = 0) -> Target:
    return Target(kind, "", 1.0, [None] * len(distances), distances, censored)


def test_jumps_on_another_map_do_not_move_a_setting_against_those_that_have_the_first_alone() -> None:
    first = {"start": [make_target("jumps", 0.3)], "near": [make_target("jumps", 0.2)]}
    both = first | {"near": [*first["near"], make_target("jumps-map-1", 5.0)]}
    assert rank_settings(both, ("jumps", "jumps-map-1")) == rank_settings(first, ("jumps", "jumps-map-1"))


def test_a_second_round_has_those_with_every_kind_that_are_not_left_out() -> None:
    every = {
        name: [make_target("a", near, censored=1), make_target("b", far)]
        for name, near, far in (("x", 0.1, 0.9), ("y", 0.2, 0.2), ("z", 0.0, 0.0))
    }
    settings = {"part": [make_target("a", 0.15)], "none": [make_target("b", 0.0)], "late": [make_target("a")], **every}
    first, second = rank_settings(settings, ("a", "b"), left_out=["z"])
    assert (first.kinds, first.distances) == (["a"], {"z": 0.0, "x": 0.1, "part": 0.15, "y": 0.2})
    assert first.censored == {"z": 1, "x": 1, "part": 0, "y": 1}
    assert second.kinds == ["a", "b"]
    assert second.distances == pytest.approx({"y": 0.2, "x": 0.5})
    (only,) = rank_settings(every, ("a", "b"))  # all have every kind: a second round would say the same
    assert only.kinds == ["a", "b"]


def test_a_target_weighs_the_same_with_one_seed_and_with_three() -> None:
    once = [make_target("biased-8", 0.1), make_target("plateau-8", 0.5, censored=1)]
    assert average(once) == pytest.approx(0.3)
    assert average([once[0], make_target("plateau-8", 0.5, 0.5, 0.5)]) == pytest.approx(0.3)
    assert average([*once, make_target("plateau-16")]) == pytest.approx(0.3)  # nothing is known of it


@pytest.mark.parametrize(
    ("end", "distances", "censored"),
    [
        (None, {600: log(600 / 377), 1200: log(1200 / 377)}, 1),  # at least: longer watched is farther off
        (580, dict.fromkeys((600, 1200), log(580 / 377)), 0),
        (200, dict.fromkeys((600, 1200), log(377 / 200)), 0),
    ],
)
def test_the_wait_of_an_automaton_is_as_far_off_as_its_end_or_its_budget(
    end: int | None, distances: dict[int, float], censored: int
) -> None:
    for budget, distance in distances.items():
        result = fall(Cell(run=plateau("wait", size=8, biased=False, seeds=1, steps=budget)), end)
        (target,) = measure_plateau(result, "plateau-8", 8, biased=False)
        assert (target.theirs, target.ours, target.censored) == (377, [end], censored)
        assert target.distances == pytest.approx([distance])


def test_a_plateau_whose_budget_ends_before_theirs_says_nothing() -> None:
    result = fall(Cell(run=plateau("wait", size=8, biased=False, seeds=2, steps=360)), None, 340)
    (target,) = measure_plateau(result, "plateau-8", 8, biased=False)
    assert list(target.ours) == [None, 340]
    assert target.distances == pytest.approx([log(377 / 340)])
    assert target.censored == 0


def test_rows_that_were_not_due_within_the_budget_say_nothing() -> None:
    """All rows of one seed have passed by step 500, none of the other's; the authors' row 4 was due at 890."""
    cell = Cell(run=linear_map("jumps", seeds=2, steps=1000))
    units = [
        {"seed": seed, "step": step, "unit": unit, "loss": 0.01 if seed == 0 and step >= 500 else 0.69}
        for seed in (0, 1)
        for step in range(0, 1001, 100)
        for unit in range(16)
    ]
    steps = [{"seed": seed, "step": step} for seed in (0, 1) for step in range(0, 1001, 100)]
    targets = {target.name: target for target in measure_jumps(invent(cell, steps, units), "jumps")}
    assert list(targets) == ["row 1", "row 4", "row 8", "row 12", "row 16", "a row's fall"]
    assert all(list(targets[f"row {row}"].ours) == [500, None] for row in (1, 4, 8, 12, 16))
    assert targets["row 1"].distances == pytest.approx([log(530 / 500), log(1000 / 530)])
    assert targets["row 4"].distances == pytest.approx([log(890 / 500), log(1000 / 890)])
    assert targets["row 8"].distances == pytest.approx([log(1480 / 500)])
    assert [targets[f"row {row}"].censored for row in (1, 4, 8)] == [1, 1, 0]
    assert list(targets["a row's fall"].ours) == [100, None]
    assert targets["a row's fall"].distances == pytest.approx([log(300 / 100)])


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ({"move": "near-lr-3e-4", "kind": "jumps", "map": 0}, "jumps-near-lr-3e-4"),
        ({"move": "near-warmup-1000", "kind": "jumps-map-2", "map": 2}, "jumps-near-warmup-1000-map-2"),
        ({"move": "near-lr-3e-4", "kind": "curve", "sparsity": 13}, "curve-near-lr-3e-4-s13"),
        ({"move": "near-lr-3e-4", "kind": "whole"}, "whole-near-lr-3e-4"),
        ({"move": "near-bias-2", "kind": "biased-16", "size": 16, "biased": True}, "biased-near-bias-2-16"),
        ({"move": "near-lr-1e-3", "kind": "plateau-8", "size": 8, "biased": False}, "plateau-near-lr-1e-3-8"),
    ],
)
def test_a_cell_of_the_search_is_found_by_its_keys(calibration: Study, key: dict[str, Value], name: str) -> None:
    assert [cell.name for cell in calibration.cells if cell.fits(key)] == [name]
    assert [cell.patterns for cell in calibration.cells if cell.fits(key)] == [key["kind"] == "whole"]


def fit(refit: Study, *, nearest: tuple[float, float]) -> list[Result]:
    """All plateaus of 8 cells: the authors' lengths at one strength and initialisation, too long at the others."""
    ends = {True: 200, False: 380}
    return [
        fall(cell, ends[biased] if cell.key["initialisation"] == nearest[1] and strength in (0.0, nearest[0]) else None)
        for cell in refit.cells
        for strength in [cell.key["strength"]]
        for biased in [strength != 0.0]
    ]


def test_larger_automata_wait_for_all_of_8_cells_and_take_what_was_nearest_there(refit: Study) -> None:
    fitted = fit(refit, nearest=(2.0, 0.5))
    assert refit.following(Results(fitted[:-1], refit.cells)) == []
    following = refit.following(Results(fitted, refit.cells))
    assert [(cell.key["size"], cell.key["strength"]) for cell in following] == [
        *((size, strength) for strength in (2.0, 0.0) for size in (16, 32, 64)),
        (128, 2.0),
    ]
    assert {cell.key["initialisation"] for cell in following} == {0.5}
    assert {cell.run.training.initialisation_scale for cell in following} == {0.5}
    assert [cell.run.intervention is None for cell in following] == [False] * 3 + [True] * 3 + [False]
    assert [cell.run.training.steps for cell in following] == [300, 260, 260, 600, 980, 1_500, 260]


def test_nothing_is_chosen_where_no_plateau_of_8_cells_ends(refit: Study) -> None:
    """All distances are lower bounds, and the smallest of them is no nearest one."""
    assert refit.following(Results(fit(refit, nearest=(9.0, 9.0)), refit.cells)) == []


@pytest.mark.parametrize(
    ("ends", "verdict", "told"),
    [
        ([200, 180, 180, 400, 640], "reproduced", "S=16, no bias: 400 for 400; S=16, bias: 200 for 199; "),
        ([200, 180, 180, None, 640], "in part", "S=16, no bias: > 600 for 400; "),
        ([20, 20, 20, None, None], "not reproduced", "S=16, no bias: > 600 for 400; S=16, bias: 20 for 199; "),
        ([200], "in part", "S=16, no bias: not run for 400; S=16, bias: 200 for 199; S=32, no bias: not run for 653; "),
        ([20], "not reproduced", "S=16, no bias: not run for 400; S=16, bias: 20 for 199; "),
        ([], "not measured", "S=16, no bias: not run for 400; S=16, bias: not run for 199; "),
    ],
)
def test_what_was_chosen_at_8_cells_predicts_or_does_not(
    refit: Study, ends: list[int | None], verdict: str, told: str
) -> None:
    assert refit.judge
    fitted = fit(refit, nearest=(4.0, 1.0))
    following = refit.following(Results(fitted, refit.cells))
    results = Results([*fitted, *(fall(cell, end) for cell, end in zip(following, ends, strict=False))], refit.cells)
    (claim,) = refit.judge(results)
    assert claim.verdict == verdict
    assert claim.why.startswith(told)
    (unchosen,) = refit.judge(Results(fitted[1:], refit.cells))
    assert (unchosen.verdict, unchosen.why) == ("not measured", "nothing is chosen yet")
