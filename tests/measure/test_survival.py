"""The survival curve and the log-rank test: properties that hold for every sample, and corners by hand."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from saltus.curves import Emergence
from saltus.measure.survival import SurvivalCurve, estimate_survival, times_of

Sample = list[tuple[int, bool]]
SAMPLES = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=25)


def estimate(sample: Sample, level: float = 0.95) -> SurvivalCurve:
    return estimate_survival([time for time, _ in sample], np.array([seen for _, seen in sample]), level)


def read_curve(curve: SurvivalCurve, time: float) -> float:
    """The survival at a time: the value of the last point that is not later."""
    return float(curve.survival[np.searchsorted(curve.times, time, side="right") - 1])


@given(SAMPLES)
def test_curve_falls_from_one_and_stays_in_its_band(sample: Sample) -> None:
    curve = estimate(sample)
    assert (curve.times[0], curve.survival[0], curve.lower[0], curve.upper[0]) == (0.0, 1.0, 1.0, 1.0)
    assert (np.diff(curve.times[1:]) > 0).all()
    assert (np.diff(curve.survival) <= 0).all()
    assert ((curve.lower >= 0.0) & (curve.lower <= curve.survival)).all()
    assert ((curve.survival <= curve.upper) & (curve.upper <= 1.0)).all()


@given(SAMPLES)
def test_curve_accounts_for_every_seed(sample: Sample) -> None:
    curve = estimate(sample)
    assert curve.events.sum() == sum(seen for _, seen in sample)
    assert curve.censored.sum() == sum(not seen for _, seen in sample)
    assert curve.at_risk[0] == len(sample)
    assert_array_equal(curve.at_risk[1:], (curve.at_risk - curve.events - curve.censored)[:-1])
    for time, at_risk in zip(curve.times[1:], curve.at_risk[1:], strict=True):
        assert at_risk == sum(other >= time for other, _ in sample)


@given(SAMPLES, st.sampled_from([0.5, 0.9, 0.95]))
def test_agrees_with_scipy_where_scipy_is_defined(sample: Sample, level: float) -> None:
    curve = estimate(sample, level)
    data = stats.CensoredData(
        uncensored=[time for time, seen in sample if seen], right=[time for time, seen in sample if not seen]
    )
    reference: Any = stats.ecdf(data).sf
    assert_array_equal(curve.times[1:], reference.quantiles)
    assert_allclose(curve.survival[1:], reference.probabilities, atol=1e-12)
    inside = (curve.survival > 0.0) & (curve.survival < 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy warns of its NaN at 0 and 1, which are left out
        band = reference.confidence_interval(level, method="log-log")
    assert_allclose(curve.lower[inside], band.low.probabilities[inside[1:]], atol=1e-12)
    assert_allclose(curve.upper[inside], band.high.probabilities[inside[1:]], atol=1e-12)


@given(st.data(), SAMPLES)
def test_order_of_seeds_does_not_matter(data: st.DataObject, sample: Sample) -> None:
    one, other = estimate(sample), estimate(data.draw(st.permutations(sample)))
    for name in ("times", "survival", "lower", "upper", "at_risk", "events", "censored"):
        assert_array_equal(getattr(one, name), getattr(other, name))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=25))
def test_without_censoring_it_is_the_share_that_is_later(times: list[int]) -> None:
    curve = estimate([(time, True) for time in times])
    for time in range(13):
        assert read_curve(curve, time) == pytest.approx(sum(other > time for other in times) / len(times), abs=1e-12)
    assert curve.median == sorted(times)[(len(times) + 1) // 2 - 1]


@given(SAMPLES, st.integers(13, 20))
def test_one_more_seed_without_it_at_the_end_never_lowers_the_curve(sample: Sample, end: int) -> None:
    before, after = estimate(sample), estimate([*sample, (end, False)])
    for time in range(13):
        assert read_curve(after, time) >= read_curve(before, time) - 1e-12


@given(SAMPLES)
def test_more_confidence_is_a_wider_band(sample: Sample) -> None:
    narrow, wide = estimate(sample, 0.8), estimate(sample, 0.99)
    assert (wide.lower <= narrow.lower).all()
    assert (wide.upper >= narrow.upper).all()


def test_band_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    truth, hits, trials = np.exp(-0.7), 0, 2000  # 60 exponential times, censored uniformly; the curve at 0.7
    for _ in range(trials):
        event, limit = generator.exponential(size=60), generator.uniform(0.5, 2.5, size=60)
        curve = estimate_survival(np.minimum(event, limit), event <= limit, level=0.9)
        point = np.searchsorted(curve.times, 0.7, side="right") - 1
        hits += bool(curve.lower[point] <= truth <= curve.upper[point])
    assert hits / trials == pytest.approx(0.9, abs=0.02)  # three standard errors of 2,000 trials


def test_tie_of_event_and_censoring_keeps_the_censored_seed_at_risk() -> None:
    curve = estimate([(5, True), (5, False)])
    assert_array_equal(curve.survival, [1.0, 0.5])
    assert_array_equal(curve.at_risk, [2, 2])


def test_nothing_emerged() -> None:
    curve = estimate([(100, False)] * 3)
    assert_array_equal(curve.survival, [1.0, 1.0])
    assert_array_equal(curve.lower, [1.0, 1.0])
    assert_array_equal(curve.upper, [1.0, 1.0])
    assert curve.median is None


def test_where_survival_is_zero_the_band_keeps_its_last_upper_end() -> None:
    curve = estimate([(1, True), (2, True), (3, False), (4, True)])
    assert_array_equal(curve.survival, [1.0, 0.75, 0.5, 0.5, 0.0])
    assert curve.lower[-1] == 0.0
    assert curve.upper[-1] == curve.upper[-2] < 1.0


def test_where_all_emerge_at_once_the_band_says_nothing() -> None:
    curve = estimate([(4, True)] * 3)
    assert_array_equal(curve.survival, [1.0, 0.0])
    assert (curve.lower[-1], curve.upper[-1]) == (0.0, 1.0)
    assert curve.median == 4.0


def test_event_at_time_zero_follows_the_origin() -> None:
    curve = estimate([(0, True), (2, True)])
    assert_array_equal(curve.times, [0.0, 0.0, 2.0])
    assert_array_equal(curve.survival, [1.0, 0.5, 0.0])


@pytest.mark.parametrize("seeds", range(2, 60, 2))
def test_median_at_exactly_one_half_survives_rounding(seeds: int) -> None:
    assert estimate([(time, True) for time in range(1, seeds + 1)]).median == seeds / 2


def test_median_is_none_where_more_than_half_never_emerge() -> None:
    assert estimate([(1, True), (2, True), (9, False), (9, False), (9, False)]).median is None


def test_times_are_right_ends_and_censored_at_the_last_step_without() -> None:
    emergences = [Emergence(10, 20, None), Emergence(90, None, None), Emergence(-1, 0, 40), Emergence(-1, None, None)]
    times, observed = times_of(emergences)
    assert_array_equal(times, [20.0, 90.0, 0.0, 0.0])
    assert_array_equal(observed, [True, False, True, False])


def test_no_seed_is_dropped_or_given_a_time() -> None:
    emergences = [Emergence(10, 20, None)] * 3 + [Emergence(100, None, None)] * 5
    curve = estimate_survival(*times_of(emergences))
    assert curve.survival[-1] == pytest.approx(5 / 8)
    assert curve.median is None


@pytest.mark.parametrize(
    ("times", "observed", "level", "message"),
    [
        ([], [], 0.95, r"times has shape \(0,\)"),
        ([[1.0]], [[True]], 0.95, "times has shape"),
        ([1.0, 2.0], [True], 0.95, "each of the 2 times"),
        ([1.0, -2.0], [True, True], 0.95, "times contains -2.0"),
        ([1.0, np.nan], [True, True], 0.95, "times contains nan"),
        ([1.0, np.inf], [True, False], 0.95, "times contains inf"),
        ([1.0, 2.0], [1, 0], 0.95, "observed has type int64"),
        ([1.0], [True], 0.0, "level is 0.0"),
        ([1.0], [True], 95.0, "level is 95.0"),
    ],
)
def test_bad_input_is_named(times: list[float], observed: list[bool], level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_survival(times, np.array(observed, dtype=None if observed else bool), level)
