"""Strategies against brute force: what is found, in how many loads, whatever is missing."""

from collections.abc import Callable, Collection, Sequence
from math import ceil, log2
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from saltus.lm.scanning.strategies import NEIGHBOURS, Solved, bisect, grid, next_steps, robust
from saltus.specs.capabilities import CopyingSpec
from saltus.specs.checkpoints import ScanSpec

Ask = Callable[[Sequence[int], Collection[int], Solved], list[int]]

PYTHIA = [0, *(2**power for power in range(10)), *range(1000, 144_000, 1000)]


def follow(
    ask: Ask, steps: Sequence[int], truth: NDArray[np.bool_], faulty: Collection[int], known: Collection[int] = ()
) -> dict[int, NDArray[np.bool_]]:
    """Measure what is asked for, one at a time, until nothing is; `truth` is [step, unit].

    Steps of `faulty` turn out to be missing when they are asked for, those of `known` are known to be.
    """
    missing, measured = set(known), dict[int, NDArray[np.bool_]]()
    for _ in range(len(steps) + 1):
        asked = ask(steps, missing, measured)
        assert len(set(asked)) == len(asked)
        assert not {*asked} & {*missing, *measured}
        assert {*asked} <= {*steps}
        if not asked:
            return measured
        if asked[0] in faulty:
            missing.add(asked[0])
        else:
            measured[asked[0]] = truth[steps.index(asked[0])]
    raise AssertionError("it never ends")


def find_gain(steps: Sequence[int], flags: Sequence[bool]) -> tuple[int, int] | None:
    """Last step before the first true one, and that one; None where there is no such pair."""
    there = next((place for place, flag in enumerate(flags) if flag), 0)
    return (steps[there - 1], steps[there]) if there else None


def robust_with(coarse: int) -> Ask:
    return lambda steps, missing, measured: robust(steps, missing, measured, coarse, NEIGHBOURS["prompts"])


listings = st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True).map(sorted)


@st.composite
def monotone_runs(draw: st.DrawFn) -> tuple[list[int], NDArray[np.bool_], set[int], set[int]]:
    """Steps, what is solved where [step, unit], steps that turn out to be missing, steps known to be missing."""
    steps = draw(listings)
    starts = draw(st.lists(st.integers(0, len(steps)), min_size=1, max_size=4))
    truth = np.arange(len(steps))[:, None] >= np.array(starts)
    faulty = draw(st.sets(st.sampled_from(steps), max_size=len(steps) // 2))
    known = draw(st.sets(st.sampled_from(steps), max_size=len(steps) // 4))
    return steps, truth, faulty, known


@given(monotone_runs())
def test_bisect_finds_the_tightest_interval_in_few_loads(
    run: tuple[list[int], NDArray[np.bool_], set[int], set[int]],
) -> None:
    steps, truth, faulty, known = run
    usable = [step for step in steps if step not in faulty | known]
    measured = follow(bisect, steps, truth, faulty, known)
    assert sorted({*usable[:1], *usable[-1:]} - measured.keys()) == []
    kept = sorted(measured)
    for unit in range(truth.shape[1]):
        expected = find_gain(usable, [truth[steps.index(step), unit] for step in usable])
        assert find_gain(kept, [measured[step][unit] for step in kept]) == expected
        alone = follow(bisect, steps, truth[:, unit : unit + 1], faulty, known)
        # The middle is that of all steps which are not known to be missing, whatever turns out of them.
        assert len(alone) <= 2 + ceil(log2(max(len(set(steps) - known), 1)))


def test_bisect_shares_measurements_between_units() -> None:
    """Of 154 checkpoints: 10 loads for a unit, and no more for two that emerge together."""
    place = PYTHIA.index(66_000)
    one = follow(bisect, PYTHIA, np.arange(154)[:, None] >= [place], ())
    two = follow(bisect, PYTHIA, np.arange(154)[:, None] >= [place, place], ())
    assert len(one) == len(two) <= 2 + ceil(log2(154))
    assert {65_000, 66_000} <= one.keys()
    far = follow(bisect, PYTHIA, np.arange(154)[:, None] >= [place, 5], ())
    assert len(far) < 2 * len(one) - 2  # the ends and the first middle at least are shared


def test_bisect_asks_for_the_ends_and_then_the_middle_of_the_index() -> None:
    flags = {0: np.array([False]), 143_000: np.array([True])}
    assert bisect(PYTHIA, (), {}) == [0, 143_000]
    assert bisect(PYTHIA, (), flags) == [PYTHIA[76]] == [66_000]
    assert bisect(PYTHIA, {66_000}, flags) == [67_000]
    assert bisect(PYTHIA, {0, 143_000}, {}) == [1, 142_000]


def test_bisect_takes_what_the_last_checkpoint_does_not_solve_for_unsolved() -> None:
    truth = np.zeros((154, 1), dtype=bool)
    truth[40:60] = True
    assert sorted(follow(bisect, PYTHIA, truth, ())) == [0, 143_000]


def test_bisect_does_not_follow_what_it_saw_by_chance() -> None:
    """A unit that the last checkpoint does not solve costs nothing, though a checkpoint measured for another did."""
    truth = np.arange(154)[:, None] >= [5, 999]
    truth[76, 1] = True
    assert follow(bisect, PYTHIA, truth, ()).keys() == follow(bisect, PYTHIA, truth[:, :1], ()).keys()


def test_the_widest_gap_comes_first() -> None:
    measured = {step: np.array([step >= 10, step >= 90]) for step in (0, 10, 50, 99)}
    for ask in (bisect, robust_with(2)):
        assert ask(range(100), (), measured) == [74, 5]


@st.composite
def runs_with_a_block(draw: st.DrawFn) -> tuple[int, int, NDArray[np.bool_]]:
    """Number of coarse checkpoints, and a unit that is solved in one block, longer than their distance: [step, 1]."""
    count, coarse = draw(st.integers(2, 80)), draw(st.integers(2, 20))
    places = np.linspace(0, count - 1, min(coarse, count)).round()
    longest = int(np.diff(places).max())
    length = draw(st.integers(longest, count))
    start = draw(st.integers(0, count - length))
    truth = np.zeros((count, 1), dtype=bool)
    truth[start : start + length] = True
    return coarse, start, truth


@given(runs_with_a_block())
def test_robust_finds_a_block_and_its_loss(case: tuple[int, int, NDArray[np.bool_]]) -> None:
    coarse, start, truth = case
    steps = list(range(0, 10 * len(truth), 10))
    measured = follow(robust_with(coarse), steps, truth, ())
    kept = sorted(measured)
    flags = [bool(measured[step][0]) for step in kept]
    every = truth[:, 0].tolist()
    assert find_gain(kept, flags) == find_gain(steps, every)
    gone = [not flag for flag in every]
    after = steps[start] // 10
    lost = find_gain(steps[after:], gone[after:])
    place = kept.index(steps[start])
    assert find_gain(kept[place:], [not flag for flag in flags[place:]]) == lost
    jump = find_gain(steps, every)
    if jump is not None:  # both neighbours of the jump were looked at
        low, high = steps.index(jump[0]) - 2, steps.index(jump[1]) + 2
        assert {*steps[max(low, 0) : high + 1]} <= measured.keys()


@st.composite
def arbitrary_runs(draw: st.DrawFn) -> tuple[list[int], NDArray[np.bool_], set[int], set[int]]:
    steps = draw(listings)
    units = draw(st.integers(1, 3))
    rows = st.lists(st.booleans(), min_size=units, max_size=units)
    truth = np.array(draw(st.lists(rows, min_size=len(steps), max_size=len(steps))))
    return steps, truth, draw(st.sets(st.sampled_from(steps))), draw(st.sets(st.sampled_from(steps)))


@given(arbitrary_runs(), st.integers(2, 12))
def test_any_run_ends_and_the_first_jump_found_is_tight(
    run: tuple[list[int], NDArray[np.bool_], set[int], set[int]], coarse: int
) -> None:
    """Whatever comes and goes: `follow` sees that nothing is asked twice, and that there is an end."""
    steps, truth, faulty, known = run
    usable = [step for step in steps if step not in faulty | known]
    assert sorted(follow(grid, steps, truth, faulty, known)) == usable
    follow(bisect, steps, truth, faulty, known)
    measured = follow(robust_with(coarse), steps, truth, faulty, known)
    kept = sorted(measured)
    for unit in range(truth.shape[1]):
        gain = find_gain(kept, [bool(measured[step][unit]) for step in kept])
        if gain is not None:
            assert usable.index(gain[1]) - usable.index(gain[0]) == 1


@given(monotone_runs(), st.integers(2, 12))
def test_robust_finds_what_bisect_finds(
    run: tuple[list[int], NDArray[np.bool_], set[int], set[int]], coarse: int
) -> None:
    steps, truth, faulty, known = run
    measured = follow(robust_with(coarse), steps, truth, faulty, known)
    usable, kept = [step for step in steps if step not in faulty | known], sorted(measured)
    for unit in range(truth.shape[1]):
        expected = find_gain(usable, [truth[steps.index(step), unit] for step in usable])
        assert find_gain(kept, [measured[step][unit] for step in kept]) == expected


def test_robust_grid_is_even_over_the_index_and_stays_where_it_is() -> None:
    asked = robust(PYTHIA, (), {}, 4, 2)
    assert asked == [0, PYTHIA[51], PYTHIA[102], 143_000] == [0, 41_000, 92_000, 143_000]
    assert robust(PYTHIA, {41_000}, {0: np.array([False])}, 4, 2) == [40_000, 92_000, 143_000]


def test_robust_sees_a_neighbour_that_contradicts_the_jump() -> None:
    """A first success of one checkpoint just before the jump is found, and the interval moved to it."""
    truth = np.zeros((33, 1), dtype=bool)
    truth[20:] = truth[17] = True
    measured = follow(robust_with(2), list(range(33)), truth, ())
    kept = sorted(measured)
    assert find_gain(kept, [bool(measured[step][0]) for step in kept]) == (16, 17)
    assert {14, 15, 16, 17, 18, 19} <= measured.keys()


@pytest.mark.parametrize(("strategy", "ask"), [("grid", grid), ("bisect", bisect), ("robust", robust_with(5))])
def test_the_spec_chooses(strategy: Literal["grid", "bisect", "robust"], ask: Ask) -> None:
    spec = ScanSpec(suite="folder:x", capabilities=(CopyingSpec(),), strategy=strategy, coarse=5, follow="prompts")
    for measured in ({}, {0: np.array([False]), 143_000: np.array([True])}):
        assert next_steps(spec, PYTHIA, {2000}, measured) == ask(PYTHIA, {2000}, measured)


def follow_sets(truth: NDArray[np.bool_], **changed: Any) -> dict[int, NDArray[np.bool_]]:
    """What a scan of one capability measures on Pythia's steps; `truth` is [step, unit], the set last."""
    spec = ScanSpec(suite="folder:x", capabilities=(CopyingSpec(),), **changed)
    return follow(lambda steps, missing, measured: next_steps(spec, steps, missing, measured), PYTHIA, truth, ())


def test_prompts_are_followed_on_request_alone() -> None:
    """Sixteen prompts that come at different steps, and their set."""
    starts = np.linspace(5, 150, 16).round().astype(int)
    prompts = np.arange(154)[:, None] >= starts
    truth = np.column_stack([prompts, prompts.mean(1) >= 0.75])
    of_sets, of_prompts = follow_sets(truth), follow_sets(truth, follow="prompts")
    assert len(of_sets) == len(follow_sets(truth[:, -1:])) <= 22
    assert len(of_prompts) > 60
    assert len(follow_sets(truth, strategy="bisect")) <= 10
    kept = sorted(of_sets)
    assert find_gain(kept, [bool(of_sets[step][-1]) for step in kept]) == find_gain(PYTHIA, truth[:, -1].tolist())


def test_a_set_costs_at_most_25_of_pythias_checkpoints_and_how_often_its_loss_is_missed() -> None:
    """All blocks of all lengths: what docs/language-models.md says. Only those between two of the grid are missed."""
    missed: dict[int, float] = {}
    for length in (1, 5, 10, 11, 60):
        seen: list[bool] = []
        for start in range(154 - length + 1):
            truth = np.zeros((154, 1), dtype=bool)
            truth[start : start + length] = True
            measured = follow_sets(truth)
            assert len(measured) <= 25
            kept = sorted(measured)
            flags = [bool(measured[step][0]) for step in kept]
            seen.append(any(flags))
            if any(flags):
                first, end = kept[flags.index(True)], start + length
                assert first == PYTHIA[start]
                lost = next((step for step in kept if step > first and not measured[step][0]), None)
                assert lost == (PYTHIA[end] if end < 154 else None)
        missed[length] = round(1 - float(np.mean(seen)), 2)
    assert missed == {1: 0.9, 5: 0.52, 10: 0.02, 11: 0.0, 60: 0.0}


def test_nothing_usable_is_nothing_to_do() -> None:
    for ask in (grid, bisect, robust_with(3)):
        assert ask([], (), {}) == []
        assert ask([1, 2], {1, 2}, {}) == []
