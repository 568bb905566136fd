"""Each rule of the page of results can give each of its answers, on invented records."""

import runpy
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import inf, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.studies.arms import invent, make_arm, make_result, make_spec, solve

from saltus.measure.intervals import Estimate
from saltus.measure.lottery import LotteryCheck
from saltus.measure.transitions import EntropyChange
from saltus.paper.distance import Round
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim
from saltus.studies.ranking import rank_arms
from saltus.studies.results import Result, Results
from saltus.studies.study import Study, load_study

STUDIES = Path(__file__).parents[2] / "studies"
GRID = 10
"""Evaluations of an invented run after step 0."""

Rows = Sequence[int | None]
"""For each row the evaluation, of `GRID`, at which it comes; None if it does not."""


@cache
def load(name: str) -> Study:
    return load_study(STUDIES / f"{name}.py")


@cache
def rules(name: str) -> dict[str, Any]:
    """The functions of a study file."""
    import sys

    sys.path.insert(0, str(STUDIES))
    try:
        return runpy.run_path(str(STUDIES / f"{name}.py"))
    finally:
        sys.path.remove(str(STUDIES))


def learn(cell: Cell, *seeds: Rows, loss: float = 0.4, scale: str = "full") -> Result:
    """A seed for each list of rows; the rows that are not listed never come. `loss` is the training loss throughout."""
    grid = np.linspace(0, cell.run.training.steps, GRID + 1).astype(int).tolist()
    named = len(invent(cell).records.facts.units)
    padded = [[*rows, *[None] * (named - len(rows))] for rows in seeds]
    units = [
        {"seed": s, "step": step, "unit": unit, "progress": float(by is not None and place >= by)}
        for s, rows in enumerate(padded)
        for place, step in enumerate(grid)
        for unit, by in enumerate(rows)
    ]
    steps = [{"seed": s, "step": step, "train_loss": loss} for s in range(len(seeds)) for step in grid]
    return invent(cell, steps, units, scale=scale)


def judge(name: str, results: Sequence[Result]) -> dict[str, Claim]:
    """The claims of a study on invented results, by their text."""
    study = load(name)
    assert study.judge
    return {claim.text: claim for claim in study.judge(Results(results, study.cells))}


def find(name: str, **key: Any) -> Cell:
    """The one cell of a study with these values under its keys."""
    (cell,) = [cell for cell in load(name).cells if cell.fits(key)]
    return cell


ALL: Rows = (1,) * 16
HALF: Rows = (1,) * 8


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [((ALL, ALL), "reproduced"), ((ALL, (1,) * 9), "in part"), ((HALF, (1,) * 3), "not reproduced")],
)
def test_a_bias_toward_the_truth_has_to_bring_all_rows(seeds: Sequence[Rows], verdict: str) -> None:
    claims = judge("linear_map_bias", [learn(find("linear_map_bias", bias="truth"), *seeds)])
    assert claims["with the true map as a bias all rows are learned within 1,000 steps"].verdict == verdict


@pytest.mark.parametrize(
    ("truth", "none", "placebo", "verdict"),
    [
        ((ALL, ALL), ((1,), (1, 1)), ((1,), ()), "reproduced"),
        ((ALL, (1,)), ((1,), (1, 1)), ((1,), ()), "in part"),  # a seed with the truth has no more than one without
        ((ALL, ALL), ((1,), (1,)), (HALF, HALF), "in part"),  # a wrong map helps too
        ((HALF, HALF), ((1,), (1,)), (ALL, ALL), "not reproduced"),
    ],
)
def test_the_truth_has_to_help_and_a_wrong_map_must_not(
    truth: Sequence[Rows], none: Sequence[Rows], placebo: Sequence[Rows], verdict: str
) -> None:
    cells = {"truth": truth, "none": none, "placebo": placebo}
    results = [learn(find("linear_map_bias", bias=name), *seeds) for name, seeds in cells.items()]
    claim = judge("linear_map_bias", results)["it is the truth that helps, not a bias as such"]
    assert claim.verdict == verdict
    assert claim.ours


def test_rows_that_come_late_in_a_short_run_count_beside_those_that_are_there_at_its_end() -> None:
    """At step 800 of 1,000; by six evaluations in a row, 50 steps apart, it would count until 750 alone."""
    cell = find("linear_map_bias", bias="truth")
    grid = range(0, 1001, 50)
    units = [
        {"seed": 0, "step": step, "unit": unit, "progress": float(step >= (800, 1000)[unit % 2])}
        for step in grid
        for unit in range(16)
    ]
    result = invent(cell, [{"seed": 0, "step": step, "train_loss": 0.1} for step in grid], units)
    (row,) = load("linear_map_bias").compare(Results([result], load("linear_map_bias").cells))  # pyright: ignore[reportOptionalCall]
    assert (list(row.ours), row.note) == ([8.0], "beyond the level at the last evaluation: 16")
    assert result.learned.tolist() == [0]


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        (([100.0, 900.0], [200.0, None]), "reproduced"),  # the last row comes after the budget, 1,000
        (([100.0, 900.0], [200.0, 300.0]), "in part"),
        (([100.0, 150.0], [500.0, None]), "not reproduced"),
        (([None, None],), "not measured"),
    ],
)
def test_rows_are_apart_by_a_factor_not_by_being_two(seeds: Sequence[Sequence[float | None]], verdict: str) -> None:
    assert rules("loss_jumps")["_judge_spread"](seeds, 1_000).verdict == verdict


@pytest.mark.parametrize(
    ("falls", "verdict"),
    [
        ([300.0, 400.0, 900.0], "reproduced"),
        ([150.0, 150.0, 350.0], "in part"),
        ([150.0] * 14 + [350.0], "not reproduced"),  # 7% inside
        ([], "not measured"),
    ],
)
def test_a_fall_is_as_long_as_theirs_only_where_its_median_is(falls: Sequence[float], verdict: str) -> None:
    assert rules("loss_jumps")["_judge_duration"](falls).verdict == verdict


@pytest.mark.parametrize(
    ("begin", "end", "verdict"),
    [
        (900, 1_000, "reproduced"),
        (400, 1_000, "in part"),  # (.8 x 600) / 700
        (0, 2_000, "not reproduced"),  # a straight line
        (9_000, 9_900, "not measured"),  # beyond the budget
    ],
)
def test_a_fall_is_abrupt_against_the_time_it_comes_at(begin: int, end: int, verdict: str) -> None:
    steps = np.arange(0, 2_001, 50)
    losses = np.interp(steps, [begin, end], [log(2), 0.0])[None, :, None]
    assert rules("loss_jumps")["_judge_abrupt"](steps, losses).verdict == verdict


@pytest.mark.parametrize(
    ("widths", "verdict"),
    [
        ([0.2, 0.5], "reproduced"),
        ([0.2, 1.2], "in part"),
        ([0.2, None], "in part"),
        ([1.6], "not reproduced"),
        ([None, None], "not measured"),
    ],
)
def test_a_loss_waits_if_it_falls_late_and_fast(widths: Sequence[float | None], verdict: str) -> None:
    assert rules("automaton_loss")["_judge_waits"](widths) == verdict


@pytest.mark.parametrize(
    ("points", "width"),
    [
        (([0, 400, 600], [1.386, 1.386, 0.6]), 0.32),  # 160 steps around step 500
        (([0, 1000], [1.386, 0.6]), 1.6),  # a straight line
        (([0, 1000], [1.386, 1.25]), None),  # has not fallen
        (([0, 50, 400, 600], [3.0, 1.386, 1.386, 0.6]), 0.32),  # above chance is no part of the fall
    ],
)
def test_the_width_of_a_fall_is_measured_below_chance(points: Any, width: float | None) -> None:
    steps = np.arange(0, 1001, 10)
    losses = np.interp(steps, *points)
    losses[0] = np.nan  # nothing is trained by step 0
    found = rules("automaton_loss")["_measure_fall"](steps, losses)
    assert found == (None if width is None else pytest.approx(width, abs=0.05))


@pytest.mark.parametrize(
    ("ends", "budget", "verdict"),
    [
        ([300, 500], 5_000, "reproduced"),
        ([300, 1_360], 5_000, "in part"),
        ([1_360, None], 5_000, "not reproduced"),
        ([None, None], 560, "not reproduced"),
        ([None, None], 400, "not measured"),  # too short to say
    ],
)
def test_the_plateau_ends_at_theirs_by_the_setting_of_the_studies(
    ends: Sequence[int | None], budget: int, verdict: str
) -> None:
    assert rules("automaton_plateau")["_judge_ends"](ends, budget, 377) == verdict


ROUND = {"preset": 0.3, "other": 0.4}


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [
        ([Round(["a"], ROUND, {"preset": 0, "other": 0})], "reproduced"),
        ([Round(["a"], ROUND, {"preset": 0, "other": 1})], "reproduced"),  # the other is farther still
        ([Round(["a"], ROUND, {"preset": 1, "other": 0})], "not measured"),
        ([Round(["a"], {"preset": 0.5, "other": 0.4}, {"preset": 1, "other": 0})], "not reproduced"),
        ([Round(["a"], {"preset": 0.5, "other": 0.4}, {"preset": 0, "other": 1})], "not measured"),
        (
            [
                Round(["a"], {"preset": 0.5, "other": 0.4}, {"preset": 0, "other": 0}),
                Round(["a", "b"], ROUND, {"preset": 0, "other": 0}),
            ],
            "in part",
        ),
    ],
)
def test_the_chosen_setting_is_not_called_nearest_where_another_is(rounds: Sequence[Round], verdict: str) -> None:
    assert rules("calibration")["_judge_nearest"](rounds, "preset") == verdict


@pytest.mark.parametrize(
    ("kind", "row_after", "verdict"),
    [("jumps", 2, "in part"), ("jumps", None, "not measured")],
)
def test_targets_are_met_by_the_mean_of_seeds(kind: str, row_after: int | None, verdict: str) -> None:
    module = rules("calibration")
    cell = next(c for c in load("calibration").cells if c.fits({"move": module["MAP"].used, "kind": kind}))
    grid = range(0, cell.run.training.steps + 1, 500)
    came = [row_after] * 16
    units = [
        {"seed": 0, "step": s, "unit": u, "loss": 0.01 if (by := came[u]) is not None and s >= 500 * by else 0.69}
        for s in grid
        for u in range(16)
    ]
    steps = [{"seed": 0, "step": s, "train_loss": 0.5} for s in grid]
    results = Results([invent(cell, steps, units)], load("calibration").cells)
    (claim,) = module["_judge_targets"](results, module["MAP"])
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("around", "elsewhere", "falls"), [(-0.8, 0.0, True), (-0.8, -0.5, False), (-0.05, 0.0, False)]
)
def test_heads_sharpen_at_jumps_only_if_more_than_elsewhere(around: float, elsewhere: float, falls: bool) -> None:
    assert EntropyChange(around, elsewhere).falls is falls


def at(size: int, sparsity: int, *seeds: Rows, loss: float = 0.4) -> Result:
    return learn(find("sparsity", size=size, sparsity=sparsity), *seeds, loss=loss)


EIGHT: Rows = (1,) * 8


@pytest.mark.parametrize(
    ("results", "claim", "verdict"),
    [
        ([(8, s, EIGHT) for s in range(1, 9)], "S=8 is learned at every sparsity", "reproduced"),
        ([(8, 1, EIGHT), (8, 2, (1,))], "S=8 is learned at every sparsity", "in part"),
        ([(8, 1, (1,)), (8, 2, (1,))], "S=8 is learned at every sparsity", "not reproduced"),
        ([(16, 4, ALL), (16, 12, HALF)], "the number of subsets is not all", "reproduced"),
        ([(16, 4, HALF), (16, 12, ALL)], "the number of subsets is not all", "not reproduced"),
        ([(16, 16, (1,) * 15)], "at s=S all outputs are equal", "reproduced"),
        ([(16, 16, (1,) * 13)], "at s=S all outputs are equal", "in part"),
        ([(16, 16, (1,) * 3)], "at s=S all outputs are equal", "not reproduced"),
    ],
)
def test_rules_of_sparsity(results: Sequence[tuple[int, int, Rows]], claim: str, verdict: str) -> None:
    claims = judge("sparsity", [at(size, s, rows, rows) for size, s, rows in results])
    assert [found.verdict for text, found in claims.items() if text.startswith(claim)] == [verdict]


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [({1: 0.4, 8: 0.6, 16: 0.4}, "reproduced"), ({1: 0.4, 8: 0.5, 16: 0.6}, "not reproduced")],
)
def test_the_hardest_sparsity_is_in_the_middle_or_not(losses: Mapping[int, float], verdict: str) -> None:
    claims = judge("sparsity", [at(16, s, (), loss=loss) for s, loss in losses.items()])
    assert claims["at S=16 medium sparsity is hardest"].verdict == verdict


def test_a_cell_of_32_goes_on_where_a_seed_has_a_row_and_is_given_up_where_none_has() -> None:
    study = load("sparsity")
    assert study.follow
    assert study.compare
    begun = [at(32, 2, (), (3,)), at(32, 8, (), ())]
    (whole,) = study.follow(Results(begun, study.cells), "full")
    assert (whole.key["sparsity"], whole.run.seeds, whole.run.training.steps) == (2, 2, 10_000)
    assert whole.run.includes(begun[0].cell.run)
    assert not study.follow(Results(begun, study.cells), "laptop")
    last = [at(32, 3, (), (GRID,))]  # a row that comes too late to be confirmed
    assert [cell.key["sparsity"] for cell in study.follow(Results(last, study.cells), "full")] == [3]
    results = Results([*begun, learn(whole, (3,), (3,), loss=0.35)], [*study.cells, whole])
    assert [(row.cell, list(row.ours), row.note) for row in study.compare(results)] == [
        ("S=32, s=2: loss", [0.35, 0.35], ""),  # and not that of its beginning
        ("S=32, s=8: loss", [0.4, 0.4], "given up: no row by step 3,000"),
    ]


def pair(task: str, width: int, small: float, large: float) -> list[Result]:
    """The smallest and the largest heads of a width, with these losses at the end."""
    return [
        learn(find("heads_and_dimension", task=task, heads=width // d, dimension=d), (), loss=loss)
        for d, loss in ((4, small), (16, large))
    ]


@pytest.mark.parametrize(
    ("task", "pairs", "verdict"),
    [
        ("linear_map", [(32, 0.4, 0.5), (64, 0.35, 0.5)], "reproduced"),
        ("linear_map", [(32, 0.4, 0.5), (64, 0.5, 0.4)], "in part"),
        ("linear_map", [(32, 0.5, 0.4)], "not reproduced"),
        ("linear_map", [(32, 0.5, 0.5)], "not measured"),
        ("cellular_automata", [(32, 0.9, 0.7)], "reproduced"),
        ("cellular_automata", [(32, 0.7, 0.9)], "not reproduced"),
    ],
)
def test_rules_of_heads_and_dimension(task: str, pairs: Sequence[tuple[int, float, float]], verdict: str) -> None:
    results = [result for width, small, large in pairs for result in pair(task, width, small, large)]
    (claim,) = judge("heads_and_dimension", results).values()
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ({1: 2, 8: 12, 16: 14}, "reproduced"),
        ({1: 2, 4: 12, 16: 1}, "in part"),  # neither the fewest heads nor many are best
        ({1: 12, 8: 2, 16: 1}, "not reproduced"),
    ],
)
def test_many_heads_have_to_beat_few(rows: Mapping[int, int], verdict: str) -> None:
    cells = {heads: find("heads_at_fixed_width", task="linear_map", heads=heads) for heads in rows}
    results = [learn(cells[heads], (1,) * count) for heads, count in rows.items()]
    (claim,) = judge("heads_at_fixed_width", results).values()
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("losses", "scale", "verdict"),
    [
        ({1: 1.2, 8: 0.8, 32: 1.0}, "full", "reproduced"),
        ({1: 1.2, 8: 0.8, 32: 1.0}, "laptop", "in part"),
        ({1: 1.2, 8: 1.0, 32: 0.8}, "full", "in part"),  # no head is too small
        ({1: 0.8, 8: 1.0, 32: 1.2}, "full", "not reproduced"),
    ],
)
def test_heads_of_automata_help_until_they_are_too_small(losses: Mapping[int, float], scale: str, verdict: str) -> None:
    cells = {heads: find("heads_at_fixed_width", task="cellular_automata", heads=heads) for heads in losses}
    results = [learn(cells[heads], (), loss=loss, scale=scale) for heads, loss in losses.items()]
    (claim,) = judge("heads_at_fixed_width", results).values()
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("rows", "scales", "verdict"),
    [
        ((ALL, (1,)), ("full", "full"), "reproduced"),
        ((ALL, (1,)), ("full", "laptop"), "in part"),
        (((1,), ALL), ("full", "full"), "not reproduced"),
    ],
)
def test_more_states_have_to_bring_fewer_rows(rows: Sequence[Rows], scales: Sequence[str], verdict: str) -> None:
    cells = [find("trajectory_length", task="linear map", states=states) for states in (2, 8)]
    results = [learn(cell, each, scale=scale) for cell, each, scale in zip(cells, rows, scales, strict=True)]
    (claim,) = judge("trajectory_length", results).values()
    assert claim.verdict == verdict


def test_a_longer_run_confirms_no_row_that_a_shorter_one_could_not() -> None:
    """Rows come at the end of the short run: the long one would confirm them, the short one cannot."""
    study = load("trajectory_length")
    long = find("trajectory_length", task="linear map", states=2)
    (short,) = [cell for cell in study.laptop if cell.fits({"task": "linear map", "states": 8})]
    came = short.run.training.steps
    results = [
        invent(
            cell,
            [{"seed": 0, "step": s, "train_loss": 0.5} for s in range(0, cell.run.training.steps + 1, 50)],
            [
                {"seed": 0, "step": s, "unit": unit, "progress": float(s >= came)}
                for s in range(0, cell.run.training.steps + 1, 50)
                for unit in range(16)
            ],
            scale=scale,
        )
        for cell, scale in ((long, "full"), (short, "laptop"))
    ]
    assert rules("trajectory_length")["count_rows"](Results(results, study.cells))[1] == {2: [0], 8: [0]}
    assert results[0].learned.tolist() == [16]


@pytest.mark.parametrize(
    ("p_value", "sooner", "verdict"),
    [(0.01, True, "reproduced"), (0.01, False, "not reproduced"), (0.11, True, "open")],
)
def test_what_seeds_do_not_show_of_two_arms_is_open(p_value: float, sooner: bool, verdict: str) -> None:
    assert rules("mixer_vs_transformer")["_judge_pair"](p_value, mixer_sooner=sooner) == verdict


SOON: list[int | None] = [200] * 8
LATE: list[int | None] = [600] * 8
NEVER: list[int | None] = [None] * 8


@pytest.mark.parametrize(
    ("arms", "best", "over", "verdicts"),
    [
        ({"a": SOON, "b": LATE, "c": NEVER}, "a", "b", ["reproduced", "reproduced"]),
        ({"a": SOON, "b": LATE, "c": SOON}, "a", "b", ["in part", "not reproduced"]),
        ({"a": LATE, "b": SOON, "c": LATE}, "a", "b", ["not reproduced", "reproduced"]),
        ({"a": SOON, "b": SOON, "c": SOON}, "a", "b", ["open", "open"]),
        ({"a": [200, 200, 200], "b": [600, 600, 600], "c": [600, 600, 600]}, "a", "b", ["open"] * 2),  # 3 seeds
        (
            {"a": SOON, "b": LATE, "c": NEVER, "d": LATE, "e": LATE, "f": NEVER, "g": SOON},
            "a",
            "b",
            ["in part", "in part"],
        ),
        # One of four others is sooner, and of three nothing is shown; then two of four are sooner.
        ({"a": SOON, "b": LATE, "c": SOON, "d": LATE, "e": LATE, "f": LATE}, "a", "b", ["in part", "open"]),
        ({"a": SOON, "b": LATE, "c": SOON, "d": LATE, "e": SOON, "f": LATE}, "a", "b", ["in part", "not reproduced"]),
    ],
)
def test_an_arm_is_ahead_only_where_its_seeds_show_it(
    arms: Mapping[str, list[int | None]], best: str, over: str, verdicts: list[str]
) -> None:
    made = [make_arm(name, cells={"easy": make_result(steps)}) for name, steps in arms.items()]
    assert [claim.verdict for claim in rank_arms(made, best=best, over=over)] == verdicts


def test_the_ranking_tells_units_steps_and_seeds() -> None:
    steps = {"slow": LATE, "fast": SOON, "none": NEVER}
    arms = [make_arm(name, cells={"easy": make_result(at)}) for name, at in steps.items()]
    first, others = rank_arms(arms, best="fast", over="slow")
    assert first.why.startswith("shown to be later: slow, none; shown to be sooner: none. ")
    assert first.why.endswith(
        "over 8 seeds, and the median step of a unit: fast 4.0, half by 200; slow 4.0, half by 600; none 0.0"
    )
    assert others.why == "of 1 others shown to be later: none; shown to be sooner: none"
    assert rank_arms(arms[:2], best="fast", over="none") == []


def test_a_run_that_stopped_when_it_was_solved_says_so() -> None:
    cell = Cell(run=make_spec())
    at: Callable[[int], list[dict[str, float]]] = lambda end: [  # noqa: E731
        {"seed": 0, "step": s, "train_loss": 0.5 - s / 10_000} for s in range(0, end + 1, 100)
    ]
    whole, stopped = (invent(cell, at(end)).compare_loss("cell", 0.3, 0.005, fitted=True) for end in (1000, 800))
    assert (whole.note, whole.tolerance, whole.fitted) == ("", 0.005, True)
    assert stopped.note == "stopped when solved, at step 800, and so ends high: it fell by 0.050 in the last 500 steps"


def test_what_is_there_at_the_end_needs_no_confirmation() -> None:
    result = solve(Cell(run=make_spec(2)), [1000, None])
    assert (result.learned.tolist(), result.there_at_end.tolist()) == ([0, 0], [4, 0])
    assert result.read_units(hold=1).by_seed()["cell", "0"][0].by == 1000
    assert result.read_units(hold=1, until=900)[0].by is None
    assert inf not in result.there_at_end


def judge_lottery(*ratios: tuple[float, float]) -> str:
    anything = Estimate(200.0, 100.0, 300.0, 0.95)
    checks = [
        LotteryCheck(4, 0.5, anything, anything, Estimate(1.0, lower, upper, 0.95), anything) for lower, upper in ratios
    ]
    return rules("heads_lottery")["judge_medians"](checks)


def test_the_lottery_of_heads_can_hold_and_fail_and_say_nothing() -> None:
    assert judge_lottery((0.7, 1.4), (0.8, inf)) == "reproduced"
    assert judge_lottery((0.7, 1.4), (1.1, inf)) == "in part"  # later than independent searchers
    assert judge_lottery((0.2, 0.9), (0.7, 1.4)) == "in part"  # sooner
    assert judge_lottery((1.1, 2.0), (1.2, inf)) == "not reproduced"
    assert judge_lottery((0.0, 3.0), (0.8, inf)) == "open"


@pytest.mark.parametrize(
    ("base", "wide", "verdict"),
    [
        ([[0 if row == seed % 8 else None for row in range(8)] for seed in range(32)], [0], "reproduced"),
        ([[]] * 32, [0] * 8, "not reproduced"),
        ([[0, 0]] * 32, [0, 0], "open"),
    ],
)
def test_seeds_can_cover_more_than_one_model_and_less(base: Sequence[Rows], wide: Rows, verdict: str) -> None:
    study = load("ensembles")
    chosen = {(c.key["heads"], c.run.model.d_model): c for c in study.cells}
    results = Results(
        [
            learn(chosen[1, 32], *base),
            learn(chosen[1, 128], *[wide for _ in range(32)]),
        ],
        study.cells,
    )
    assert study.judge is not None
    claims = {claim.text: claim.verdict for claim in study.judge(results)}
    assert claims["K seeds cover more rows than one model, wider at the same work"] == verdict


@pytest.mark.parametrize(
    ("single", "several", "verdict"),
    [
        ([8] * 16, [1] * 16, "reproduced"),
        ([1] * 16, [8] * 16, "not reproduced"),
        ([2, 8] * 8, [1, 9] * 8, "open"),
    ],
)
def test_several_heads_can_be_sooner_than_one_and_later(
    single: Sequence[int], several: Sequence[int], verdict: str
) -> None:
    study = load("heads_at_equal_operations")
    chosen = {(c.key["heads"], c.key["dimension"], c.key["layers"]): c for c in study.cells if c.key["factor"] == 1.0}
    results = Results(
        [learn(chosen[heads, 8, 1], *[[at] * 8 for at in steps]) for heads, steps in ((1, single), (4, several))],
        study.cells,
    )
    assert study.judge is not None
    (claim,) = study.judge(results)
    assert claim.verdict == verdict, claim.why


@pytest.mark.parametrize(
    ("helper", "placebo", "claim"),
    [
        (
            "bias toward the truth",
            "bias toward a wrong map",
            "the true map as a bias makes dense rows come, at some rate",
        ),
        (
            "biased inputs first",
            "biased inputs of another map",
            "biased inputs first, which know nothing of the truth, make dense rows come, at some rate",
        ),
    ],
)
@pytest.mark.parametrize(
    ("rows", "helps", "told", "chance"),
    [
        ({1e-3: ([9, 16], [0, 8], [2, 1])}, "reproduced", "0.001: all", "not reproduced"),
        ({1e-3: ([0, 16], [0, 8], [2, 1])}, "in part", "0.001: some", "not reproduced"),
        ({1e-3: ([0, 0], [0, 0], [0, 0])}, "not reproduced", "0.001: none", "reproduced"),
        ({1e-3: ([0, 0],) * 3, 3e-3: ([9, 9], [0, 8], [2, 1])}, "reproduced", "0.001: none; 0.003: all", "reproduced"),
        ({}, "not measured", "not run", "not measured"),
    ],
)
def test_what_helps_dense_rows_has_seeds_with_more(
    helper: str,
    placebo: str,
    claim: str,
    rows: dict[float, tuple[list[int], list[int], list[int]]],
    helps: str,
    told: str,
    chance: str,
) -> None:
    results = [
        learn(find("sooner_dense", rate=rate, arm=arm), *[(1,) * number for number in seeds])
        for rate, cells in rows.items()
        for arm, seeds in zip((helper, "neither", placebo), cells, strict=True)
    ]
    claims = judge("sooner_dense", results)
    assert claims[claim].verdict == helps
    assert claims[claim].why.endswith(told)
    if helper.startswith("bias toward"):
        assert claims["at a rate of 0.001 the biased model stays at chance, as a replication reports"].verdict == chance
