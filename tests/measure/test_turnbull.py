"""Turnbull's estimate: the conditions of a maximum on every sample, special cases with a known answer, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from saltus.measure.survival import estimate_survival
from saltus.measure.turnbull import TurnbullEstimate, estimate_turnbull

INF = float("inf")


@st.composite
def samples(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlapping, nested, equal, exact and censored intervals."""
    pairs = draw(st.lists(st.tuples(st.integers(-1, 12), st.integers(0, 12) | st.none()), min_size=1, max_size=20))
    left = np.array([pair[0] for pair in pairs], dtype=float)
    width = np.array([INF if pair[1] is None else pair[1] for pair in pairs])
    return left, np.maximum(left + width, 0.0)


def holds(left: float, right: float, found: TurnbullEstimate) -> NDArray[np.bool_]:
    """[cell] whether the interval contains the cell, by the ends' definition; on whole steps, ends are half steps."""

    def ends(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.where(a == b, a, a + 0.5), b  # (a, b] begins after a, [a, a] at a

    inner, outer = ends(found.left, found.right), ends(np.array(left), np.array(right))
    return (outer[0] <= inner[0]) & (inner[1] <= outer[1])


@given(samples())
@settings(deadline=None)
def test_no_other_distribution_is_likelier(sample: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    left, right = sample
    found = estimate_turnbull(left, right)
    probability = np.array([found.mass[holds(a, b, found)].sum() for a, b in zip(left, right, strict=True)])
    assert found.log_likelihood == pytest.approx(np.log(probability).sum(), abs=1e-8)
    # the gain per unit of mass moved to any step is at most 0 (Gentleman and Geyer 1994), so none anywhere
    for step in np.arange(-1.0, 26.0, 0.25):
        there = np.where(left == right, left == step, (left < step) & (step <= right))
        assert (there / probability).sum() <= len(left) * (1 + 1e-9)


@given(samples())
@settings(deadline=None)
def test_masses_are_a_distribution_over_disjoint_cells(
    sample: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    found = estimate_turnbull(*sample)
    assert (found.mass > 0).all()
    assert found.mass.sum() == pytest.approx(1.0)
    assert (found.left <= found.right).all()
    assert (found.right[:-1] <= found.left[1:]).all()
    lower, upper = found.survival_at(np.arange(0.0, 30.0))
    assert (lower <= upper + 1e-12).all()
    assert (np.diff(lower) <= 1e-12).all()


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=20))
def test_exact_steps_give_kaplan_meier(sample: list[tuple[int, bool]]) -> None:
    times, seen = np.array([t for t, _ in sample], dtype=float), np.array([s for _, s in sample])
    found = estimate_turnbull(times, np.where(seen, times, INF))
    reference = estimate_survival(times, seen)
    inside = reference.times[1:] < times.max()  # beyond the last seed Kaplan-Meier stops, and so does the likelihood
    assert_allclose(found.survival_at(reference.times[1:][inside])[1], reference.survival[1:][inside], atol=1e-9)


def test_a_weight_is_a_number_of_equal_units() -> None:
    left, right, weights = np.array([0.0, 2, 1, 5]), np.array([4.0, 6, INF, 8]), np.array([2, 1, 3, 0])
    one = estimate_turnbull(left, right, weights)
    other = estimate_turnbull(np.repeat(left, weights), np.repeat(right, weights))
    assert_allclose(one.mass, other.mass)
    assert one.log_likelihood == pytest.approx(other.log_likelihood)


def test_step_zero_can_be_said() -> None:
    found = estimate_turnbull([-1, 0, -5], [0, 10, 0])
    assert_allclose([found.left, found.right, found.mass], [[-1, 0], [0, 10], [2 / 3, 1 / 3]])
    assert found.survival_at(0) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.quantile(0.5) == (-1.0, 0.0)
    assert found.place_quantile(0.5) == 0.0


def test_the_place_of_mass_in_its_cell_stays_open() -> None:
    found = estimate_turnbull([100, 100, 200, 300], [200, 200, 300, INF])
    lower, upper = found.survival_at([100, 150, 200, 250, 400])
    assert_allclose(lower, [1.0, 0.5, 0.5, 0.25, 0.0])
    assert_allclose(upper, [1.0, 1.0, 0.5, 0.5, 0.25])
    assert found.quantile(0.25) == (100.0, 200.0)
    assert found.place_quantile(0.25) == 150.0
    assert found.place_quantile(0.9) == INF
    assert found.restricted_mean(300) == (175.0, 250.0)
    assert found.place_restricted_mean(300) == 212.5
    assert found.place_restricted_mean(250) == pytest.approx((150 + 150 + (225 + 250) / 2 + 250) / 4)
    assert found.place_restricted_mean(301) is None  # a seed was last seen at 300


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ([], [], r"left has shape \(0,\)"),
        ([1, 2], [3], r"shape \(2,\) and right \(1,\)"),
        ([[1]], [[2]], "one axis"),
        ([3], [2], r"left has 3 where right has 2.0 \(unit 0\)"),
        ([1, np.nan], [2, 3], "left has nan"),
        ([1, 1], [2, np.nan], r"right has nan \(unit 1\)"),
        ([INF], [INF], "left has inf"),
        ([-3], [-1], "right has -1.0"),
    ],
)
def test_bad_intervals_are_named(left: list[float], right: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_turnbull(left, right)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan], [1.0, INF]])
def test_bad_weights_are_named(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights are"):
        estimate_turnbull([1, 2], [2, 3], weights)


def test_bad_questions_are_named() -> None:
    found = estimate_turnbull([1], [2])
    with pytest.raises(ValueError, match="share is 1"):
        found.quantile(1.0)
    with pytest.raises(ValueError, match="horizon is inf"):
        found.restricted_mean(INF)
