"""Curves and rules: when a unit emerges, on curves drawn by hand and against a reference that walks them one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from saltus.curves import Curve, Curves, Emergence, Emergences, Key, Rule, find_emergence, gather_curves
from saltus.errors import SaltusError

KEY = Key("a", "0", "row 0")


def make_curve(steps: ArrayLike, values: ArrayLike, **more: Any) -> Curve:
    return Curve(KEY, np.asarray(steps, dtype=np.int64), np.asarray(values, dtype=np.float64), **more)


def draw(picture: str) -> Curve:
    """Steps 0, 10, 20, ... and values: '#' above the level of 0.9, '.' below it, '?' NaN."""
    values = {"#": 0.95, ".": 0.1, "?": np.nan}
    return make_curve(np.arange(len(picture)) * 10, [values[mark] for mark in picture])


def found(after: int, by: int | None, lost: int | None = None, missing: tuple[int, ...] = ()) -> Emergence:
    return Emergence(after, by, lost, missing, KEY)


@pytest.mark.parametrize(
    ("picture", "hold", "after", "by", "lost"),
    [
        pytest.param("......", 2, 40, None, None, id="never"),
        pytest.param("...###", 2, 20, 30, None, id="once and for all"),
        pytest.param("######", 2, -1, 0, None, id="there from the start"),
        pytest.param(".#.#..", 2, 40, None, None, id="flickers shorter than hold, never there"),
        pytest.param(".#..##", 2, 30, 40, None, id="flickers, then comes"),
        pytest.param(".###..", 2, 0, 10, 40, id="lost"),
        pytest.param(".##.##", 2, 0, 10, None, id="a dip shorter than hold is no loss"),
        pytest.param(".####.", 2, 0, 10, None, id="a loss that the budget leaves unconfirmed"),
        pytest.param(".##..####..", 2, 0, 10, 30, id="lost and regained: the first emergence and the first loss"),
        pytest.param(".##.#..##", 2, 0, 10, 50, id="a dip, then a loss"),
        pytest.param(".....#", 2, 40, None, None, id="unconfirmed at the end"),
        pytest.param("..#.##", 3, 30, None, None, id="unconfirmed at the end, longer hold"),
        pytest.param("##", 3, -1, None, None, id="never below, never confirmed"),
        pytest.param(".", 3, -1, None, None, id="fewer evaluations than hold"),
        pytest.param(".#.#..", 1, 0, 10, 20, id="hold of one: the first crossing and the first fall"),
        pytest.param(".....#", 1, 40, 50, None, id="hold of one, at the last evaluation"),
    ],
)
def test_drawn_trajectories(picture: str, hold: int, after: int, by: int | None, lost: int | None) -> None:
    emergence = find_emergence(draw(picture), Rule(above=0.9, hold=hold))
    assert emergence == found(after, by, lost)
    assert emergence.censored == (by is None)


@pytest.mark.parametrize(
    ("picture", "hold", "expected"),
    [
        ("..?###", 2, found(10, 30, missing=(20,))),
        (".#?##.", 2, found(0, 10)),
        ("##??##", 2, found(-1, 0)),
        ("##?..?", 2, found(-1, 0, 30)),
        ("...??", 1, found(20, None, missing=(30, 40))),
        ("??", 1, found(-1, None, missing=(0, 10))),
    ],
)
def test_where_nothing_was_measured_nothing_is_known(picture: str, hold: int, expected: Emergence) -> None:
    assert find_emergence(draw(picture), Rule(above=0.9, hold=hold)) == expected


def test_a_value_without_its_standard_error_is_not_known_to_be_below() -> None:
    errors = np.array([0.01, 0.01, np.nan, 0.01, np.nan, 0.01])
    curve = make_curve(np.arange(6) * 10, [0.1, 0.1, 0.95, 0.95, 0.95, 0.95], standard_error=errors)
    assert find_emergence(curve, Rule(above=0.9, hold=2, errors=2)) == found(10, 30, missing=(20,))


def test_after_a_divergence_a_unit_is_known_to_be_away() -> None:
    curve = make_curve(np.arange(5) * 10, [0.1, 0.95, np.nan, np.nan, np.nan], diverged=20)
    assert find_emergence(curve, Rule(above=0.9, hold=1)) == replace(found(0, 10, 20), diverged=20)
    assert find_emergence(curve, Rule(above=0.9, hold=2)) == replace(found(30, None), diverged=20)


def test_the_level_is_met_when_reached_from_below_and_not_from_above() -> None:
    assert find_emergence(make_curve([0, 1, 2], [0.0, np.nextafter(0.9, 0.0), 0.9]), Rule(above=0.9)) == found(1, 2)
    assert find_emergence(make_curve([0, 1, 2], [2.0, 0.9, np.nextafter(0.9, 0.0)]), Rule(below=0.9)) == found(1, 2)


def test_steps_are_those_given_and_not_indices() -> None:
    curve = make_curve([0, 1, 2, 4, 8, 16, 50, 100], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    assert find_emergence(curve, Rule(above=0.9, hold=2)) == found(4, 8, 50)


def test_what_could_not_be_confirmed_is_censored_where_all_are() -> None:
    """Of two units without a confirmed emergence, one crosses late: nothing more is known of it than of the other."""
    late, never = (find_emergence(draw(picture), Rule(above=0.9, hold=3)) for picture in ("....##", "......"))
    assert late == never == found(30, None)


def test_a_share_of_the_way_is_the_level_between_chance_and_ceiling() -> None:
    rising = make_curve([0, 1, 2, 3], [0.25, 0.60, 0.625, 0.9], chance=0.25, ceiling=1.0)
    assert find_emergence(rising, Rule(above=0.5, share=True)) == found(1, 2)
    falling = make_curve([0, 1, 2, 3], [1.4, 1.0, 0.7, 0.2], chance=1.4, ceiling=0.0)  # of a loss, and its floor
    assert find_emergence(falling, Rule(above=0.5, share=True)) == found(1, 2)
    for chance, ceiling in ((np.nan, 1.0), (0.5, 0.5)):
        with pytest.raises(SaltusError, match="a share of the way between them says nothing"):
            find_emergence(make_curve([0], [0.5], chance=chance, ceiling=ceiling), Rule(above=0.5, share=True))


def test_standard_errors_put_the_level_out_of_reach_of_noise() -> None:
    error = np.full(3, 0.01)
    rising = make_curve([0, 1, 2], [0.25, 0.265, 0.271], standard_error=error)
    assert find_emergence(rising, Rule(above=0.25, errors=2.0)) == found(1, 2)
    falling = make_curve([0, 1, 2], [1.0, 0.985, 0.979], standard_error=error)
    assert find_emergence(falling, Rule(below=1.0, errors=2.0)) == found(1, 2)
    shared = make_curve([0, 1, 2], [0.5, 0.62, 0.63], chance=0.25, ceiling=0.75, standard_error=error)
    assert find_emergence(shared, Rule(above=0.7, share=True, errors=2.0)) == found(0, 1)  # (.62 - .25 - .02) / .5
    with pytest.raises(SaltusError, match="the rule asks for 2 standard errors and the curve has none"):
        find_emergence(make_curve([0], [0.5]), Rule(above=0.25, errors=2.0))


def test_missing_steps_inside_the_interval_or_after_a_censored_one_are_told() -> None:
    assert find_emergence(make_curve([0, 10, 40], [0, 0, 1], missing=(5, 20, 30, 50)), Rule(above=1.0)) == found(
        10, 40, missing=(20, 30)
    )
    assert find_emergence(make_curve([0, 10], [0, 0], missing=(5, 20)), Rule(above=1.0)) == found(
        10, None, missing=(20,)
    )


def test_curves_are_gathered_by_seed_then_unit() -> None:
    pictures = [["..##", ".###", "...."], ["####", "##..", "...#"]]  # [seed][unit]
    values = np.array([[draw(unit).values for unit in seed] for seed in pictures]).transpose(0, 2, 1)
    steps = np.array([0, 10, 20, 30])
    curves = Curves(gather_curves("a", ["0", "1"], ["x", "y", "z"], steps, values), "accuracy", Rule(above=0.9, hold=2))
    emergences = curves.emergences()
    assert [(e.key.seed, e.key.unit, e.after, e.by, e.lost) for e in emergences] == [
        ("0", "x", 10, 20, None),
        ("0", "y", 0, 10, None),
        ("0", "z", 20, None, None),
        ("1", "x", -1, 0, None),
        ("1", "y", -1, 0, 20),
        ("1", "z", 20, None, None),
    ]
    assert [e.by for e in curves.emergences(curves.rule.change(hold=1))] == [20, 10, None, 0, 0, 30]
    assert [e.by for e in emergences.unit("y")] == [10, 0]
    assert {run: len(found) for run, found in emergences.by_seed().items()} == {("a", "0"): 3, ("a", "1"): 3}
    assert curves.groups == ["a"]
    assert (curves.seeds("a"), curves.units) == (["0", "1"], ["x", "y", "z"])
    assert [curve.key.seed for curve in curves.select(unit="y")] == ["0", "1"]
    with pytest.raises(SaltusError, match="there is no group 'b'; there are a"):
        emergences.group("b")
    with pytest.raises(ValueError, match=r"values has shape \(2, 4, 3\); allowed is .* \(2, 4, 2\)"):
        gather_curves("a", ["0", "1"], ["x", "y"], steps, values)


def test_intervals_are_open_on_the_left_and_censored_without_a_right_end() -> None:
    emergences = Emergences((Emergence(10, 20), Emergence(-1, 0), Emergence(40, None)), Rule(above=1.0))
    left, right = emergences.intervals()
    assert (left.tolist(), right.tolist()) == ([10.0, -1.0, 40.0], [20.0, 0.0, np.inf])


def test_the_whole_is_apart_from_its_parts() -> None:
    curves = gather_curves("a", ["0"], ["x", "y", "all"], np.arange(2), np.zeros((1, 2, 3)))
    both = Curves(curves, "progress", Rule(above=1.0), whole="all")
    assert [curve.key.unit for curve in both.parts] == ["x", "y"]
    assert [curve.key.unit for curve in both.wholes] == ["all"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give exactly one"),
        ({"above": 0.5, "below": 0.5}, "give exactly one"),
        ({"above": np.nan}, "must be a finite number"),
        ({"below": 0.5, "share": True}, "a share of the way is given as above"),
        ({"above": 0.5, "hold": 0}, "must be at least 1 evaluation"),
        ({"above": 0.5, "errors": -1.0}, "at least 0"),
    ],
)
def test_a_bad_rule_is_one_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SaltusError, match=message):
        Rule(**values)


def test_a_rule_is_changed_on_its_own_side() -> None:
    assert Rule(above=0.9, hold=2).change(threshold=0.5) == Rule(above=0.5, hold=2)
    assert Rule(below=1.3).change(threshold=1.2, hold=3) == Rule(below=1.2, hold=3)
    assert Rule(below=1.3).change() == Rule(below=1.3)


@pytest.mark.parametrize(
    ("steps", "values", "message"),
    [
        ([], [], "steps has shape"),
        ([[0, 1]], [[0.0, 1.0]], "steps has shape"),
        ([0, 2, 2], [0.0, 0.0, 0.0], "strictly increasing"),
        ([0, 3, 2], [0.0, 0.0, 0.0], "strictly increasing"),
        ([-1, 0], [0.0, 0.0], "at least 0"),
        ([0, 1], [0.0], "each of the 2 steps"),
    ],
)
def test_bad_input_is_named(steps: list[int], values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_curve(steps, values)


def walk(steps: list[int], there: list[bool], hold: int) -> Emergence:
    """The definition, one evaluation at a time: no arrays, no search for runs."""
    after, by, lost = -1, None, None
    run_start, run = 0, 0
    for step, now in zip(steps, there, strict=True):
        wanted = by is None  # first a run of being there, then a run of being away
        if now == wanted:
            run_start, run = (step, 1) if run == 0 else (run_start, run + 1)
        else:
            run = 0
        if by is None and not now:
            after = step
        if run == hold:
            if by is None:
                by, run = run_start, 0
            else:
                lost = run_start
                break
    if by is None:
        confirmable = steps[: max(0, len(steps) - hold + 1)]
        return found(confirmable[-1] if confirmable else -1, None)
    return found(after, by, lost)


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=24), st.integers(1, 5))
def test_agrees_with_walking(evaluations: list[tuple[int, bool]], hold: int) -> None:
    steps = np.cumsum([gap for gap, _ in evaluations])
    there = [now for _, now in evaluations]
    emergence = find_emergence(make_curve(steps, np.where(there, 0.95, 0.1)), Rule(above=0.9, hold=hold))
    assert emergence == walk([int(step) for step in steps], there, hold)


@given(crossing=st.integers(0, 20), kept=st.sets(st.integers(0, 19), min_size=1))
def test_coarser_grid_brackets_the_finer_one(crossing: int, kept: set[int]) -> None:
    steps, values = np.arange(20), np.where(np.arange(20) >= crossing, 1.0, 0.0)
    fine = find_emergence(make_curve(steps, values), Rule(above=1.0))
    chosen = np.array(sorted(kept))
    coarse = find_emergence(make_curve(steps[chosen], values[chosen]), Rule(above=1.0))
    assert coarse.after <= fine.after
    assert coarse.by is None or (fine.by is not None and coarse.by >= fine.by)


def test_curves_until_a_step_are_read_as_if_training_had_ended_there() -> None:
    """Of a hold of 2, what comes at 20 is confirmed at 30; until 20 it is not, as in a run that ended there."""
    steps, values = np.array([0, 10, 20, 30]), np.array([0.0, 0.0, 1.0, 1.0])
    curve = Curve(Key("g", "0", "u"), steps, values, missing=(5, 25), standard_error=np.array([0.1, 0.2, 0.3, 0.4]))
    curves = Curves((curve,), "accuracy", Rule(above=0.5, hold=2))
    short = curves.until(29)
    assert (curves.emergences()[0].by, short.emergences()[0]) == (20, Emergence(10, None, None, (25,), curve.key))
    assert (short[0].steps.tolist(), short[0].missing) == ([0, 10, 20], (5, 25))
    assert short[0].standard_error is not None
    assert short[0].standard_error.tolist() == [0.1, 0.2, 0.3]
    assert curves.until(30)[0].steps.tolist() == steps.tolist()
    with pytest.raises(SaltusError, match="u: step -1 was given, and the first evaluation is at 0"):
        curves.until(-1)


@pytest.mark.parametrize(
    ("until", "missing", "diverged"),
    [(150, (), None), (250, (200,), None), (300, (200, 300), None), (400, (200, 300), 400)],
)
def test_what_is_missing_until_a_step_is_kept_and_what_diverged_later_is_not(
    until: int, missing: tuple[int, ...], diverged: int | None
) -> None:
    steps, values = np.array([0, 100, 400, 500]), np.array([0.1, 0.1, np.nan, np.nan])
    curve = Curve(Key("g", "0", "u"), steps, values, missing=(200, 300), diverged=400)
    (cut,) = Curves((curve,), "acc", Rule(above=0.5)).until(until)
    assert (cut.missing, cut.diverged) == (missing, diverged)
    assert cut.steps.tolist() == [step for step in steps if step <= until]
