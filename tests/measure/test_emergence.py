"""When a unit emerges, on trajectories drawn by hand and against a reference that walks them one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from saltus.measure.emergence import Emergence, find_all, find_emergence, find_task_emergence
from saltus.specs import EmergenceSpec


def draw(picture: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps 0, 10, 20, ... and progress: '#' above the threshold of 0.9, '.' below it, '?' NaN."""
    values = {"#": 0.95, ".": 0.1, "?": np.nan}
    return np.arange(len(picture)) * 10, np.array([values[mark] for mark in picture])


@pytest.mark.parametrize(
    ("picture", "hold", "after", "by", "lost"),
    [
        pytest.param("......", 2, 50, None, None, id="never"),
        pytest.param("...###", 2, 20, 30, None, id="once and for all"),
        pytest.param("######", 2, -1, 0, None, id="there from the start"),
        pytest.param(".#.#..", 2, 50, None, None, id="flickers shorter than hold, never there"),
        pytest.param(".#..##", 2, 30, 40, None, id="flickers, then comes"),
        pytest.param(".###..", 2, 0, 10, 40, id="lost"),
        pytest.param(".##.##", 2, 0, 10, None, id="a dip shorter than hold is no loss"),
        pytest.param(".####.", 2, 0, 10, None, id="a loss that the budget leaves unconfirmed"),
        pytest.param(".##..####..", 2, 0, 10, 30, id="lost and regained: the first emergence and the first loss"),
        pytest.param(".##.#..##", 2, 0, 10, 50, id="a dip, then a loss"),
        pytest.param(".....#", 2, 40, None, None, id="unconfirmed at the end"),
        pytest.param("..#.##", 3, 30, None, None, id="unconfirmed at the end, longer hold"),
        pytest.param("##", 3, -1, None, None, id="never below, never confirmed"),
        pytest.param(".", 3, 0, None, None, id="fewer evaluations than hold"),
        pytest.param(".#.#..", 1, 0, 10, 20, id="hold of one: the first crossing and the first fall"),
        pytest.param(".....#", 1, 40, 50, None, id="hold of one, at the last evaluation"),
        pytest.param("..?###", 2, 20, 30, None, id="NaN before counts as below"),
        pytest.param(".#?##.", 2, 20, 30, None, id="NaN breaks a run"),
        pytest.param("##??##", 2, -1, 0, 20, id="NaN counts towards a loss"),
    ],
)
def test_drawn_trajectories(picture: str, hold: int, after: int, by: int | None, lost: int | None) -> None:
    steps, progress = draw(picture)
    found = find_emergence(steps, progress, EmergenceSpec(threshold=0.9, hold=hold))
    assert found == Emergence(after=after, by=by, lost=lost)
    assert found.censored == (by is None)


def test_threshold_is_met_when_reached() -> None:
    steps = np.array([0, 1, 2])
    spec = EmergenceSpec(threshold=0.9, hold=1)
    assert find_emergence(steps, np.array([0.0, np.nextafter(0.9, 0.0), 0.9]), spec) == Emergence(1, 2, None)


def test_steps_are_those_given_and_not_indices() -> None:
    steps = np.array([0, 1, 2, 4, 8, 16, 50, 100])
    progress = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    assert find_emergence(steps, progress, EmergenceSpec(hold=2)) == Emergence(after=4, by=8, lost=50)


def test_all_is_by_seed_then_unit() -> None:
    pictures = [["..##", ".###", "...."], ["####", "##..", "...#"]]  # [seed][unit]
    progress = np.array([[draw(unit)[1] for unit in seed] for seed in pictures]).transpose(0, 2, 1)
    found = find_all(np.array([0, 10, 20, 30]), progress, EmergenceSpec(hold=2))
    assert found == [
        [Emergence(10, 20, None), Emergence(0, 10, None), Emergence(30, None, None)],
        [Emergence(-1, 0, None), Emergence(-1, 0, 20), Emergence(20, None, None)],
    ]


def test_task_needs_all_units_at_once() -> None:
    # seed 0: both there from step 20; seed 1: each there for a while, never together; seed 2: NaN in one unit
    pictures = [["..###", ".####"], ["##...", "...##"], ["#####", "##?##"]]
    progress = np.array([[draw(unit)[1] for unit in seed] for seed in pictures]).transpose(0, 2, 1)
    found = find_task_emergence(np.arange(5) * 10, progress, EmergenceSpec(hold=2))
    assert found == [Emergence(10, 20, None), Emergence(40, None, None), Emergence(-1, 0, None)]
    strict = find_task_emergence(np.arange(5) * 10, progress, EmergenceSpec(hold=3))
    assert strict[2] == Emergence(20, None, None)


def test_task_does_not_emerge_on_the_mean() -> None:
    progress = np.ones((1, 4, 16))
    progress[0, :, 7] = 0.0  # the mean progress is 0.94, above the threshold; one row is missing
    assert find_task_emergence(np.arange(4), progress, EmergenceSpec(threshold=0.9))[0].censored


@pytest.mark.parametrize(
    ("steps", "progress", "message"),
    [
        ([], [], "steps has shape"),
        ([[0, 1]], [[0.0, 1.0]], "steps has shape"),
        ([0, 2, 2], [0.0, 0.0, 0.0], "strictly increasing"),
        ([0, 3, 2], [0.0, 0.0, 0.0], "strictly increasing"),
        ([-1, 0], [0.0, 0.0], "at least 0"),
        ([0, 1], [0.0], "each of the 2 steps"),
    ],
)
def test_bad_input_is_named(steps: list[int], progress: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_emergence(np.array(steps, dtype=np.int64), np.array(progress), EmergenceSpec())


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 5), (2, 3, 0)])
def test_bad_ensemble_is_named(shape: tuple[int, ...]) -> None:
    steps = np.arange(3)
    with pytest.raises(ValueError, match="progress has shape"):
        find_all(steps, np.zeros(shape), EmergenceSpec())
    with pytest.raises(ValueError, match="progress has shape"):
        find_task_emergence(steps, np.zeros(shape), EmergenceSpec())


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
    return Emergence(after, by, lost)


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=24), st.integers(1, 5))
def test_agrees_with_walking(evaluations: list[tuple[int, bool]], hold: int) -> None:
    steps = np.cumsum([gap for gap, _ in evaluations])
    there = [now for _, now in evaluations]
    progress = np.where(there, 0.95, 0.1)
    found = find_emergence(steps, progress, EmergenceSpec(threshold=0.9, hold=hold))
    assert found == walk([int(step) for step in steps], there, hold)


@given(
    crossing=st.integers(0, 20),
    kept=st.sets(st.integers(0, 19), min_size=1),
)
def test_coarser_grid_brackets_the_finer_one(crossing: int, kept: set[int]) -> None:
    steps, progress = np.arange(20), np.where(np.arange(20) >= crossing, 1.0, 0.0)
    spec = EmergenceSpec(hold=1)
    fine = find_emergence(steps, progress, spec)
    chosen = np.array(sorted(kept))
    coarse = find_emergence(steps[chosen], progress[chosen], spec)
    assert coarse.after <= fine.after
    assert coarse.by is None or (fine.by is not None and coarse.by >= fine.by)
