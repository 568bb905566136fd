"""Abruptness: known curves on any grid and scale, noise, jumps, and a threshold metric that makes a jump of none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit

from saltus.errors import SaltusError
from saltus.measure.abruptness import compare_metrics, measure_abruptness

SLOPE = 10.5
"""Of a logistic curve in natural log step: its width is then about .42, as in a public replication."""
WIDTH = 9 ** (1 / SLOPE) - 9 ** (-1 / SLOPE)


def rise(steps: NDArray[np.float64], slope: float = SLOPE, time: float = 1000.0) -> NDArray[np.float64]:
    return expit(slope * (np.log(np.maximum(steps, 1e-9)) - np.log(time)))


@pytest.mark.parametrize("steps", [np.arange(0, 4001, 10.0), np.arange(0, 4001, 150.0), np.geomspace(1, 20_000, 60)])
def test_a_logistic_curve_is_measured_on_any_grid(steps: NDArray[np.float64]) -> None:
    found = measure_abruptness(steps, rise(steps))
    assert pytest.approx(0.42, abs=0.005) == WIDTH
    assert found.width.least <= WIDTH <= found.width.most
    assert found.time.least <= 1000 <= found.time.most
    assert found.smooth_width == pytest.approx(WIDTH, rel=0.02)
    share = 2 * expit(SLOPE * np.log(1.1) / 2) - 1
    assert found.steepest.least - 1e-3 <= share <= found.steepest.most
    assert found.smooth_steepest == pytest.approx(share, rel=0.02)
    assert found.noise == pytest.approx(0.0, abs=1e-12)
    assert found.jumps is not True


def test_a_finer_grid_closes_in() -> None:
    steps = np.arange(0, 4001, 5.0)
    found = measure_abruptness(steps, rise(steps))
    assert found.width.value == pytest.approx(WIDTH, abs=2e-3)
    assert found.width.most - found.width.least < 0.02
    assert found.jumps is False


@given(st.floats(-100, 100), st.floats(0.01, 100), st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_scale_of_the_metric_does_not_matter(offset: float, scale: float, falls: bool) -> None:
    steps = np.arange(0, 3001, 100.0)
    one = measure_abruptness(steps, rise(steps))
    other = measure_abruptness(steps, offset + (-scale if falls else scale) * rise(steps))
    assert (one.falls, other.falls) == (False, falls)
    assert other.width.value == pytest.approx(one.width.value, rel=1e-6)
    assert other.steepest.value == pytest.approx(one.steepest.value, rel=1e-6)
    assert other.smooth_width == pytest.approx(one.smooth_width, rel=1e-3)


def test_the_unit_of_steps_does_not_matter() -> None:
    steps = np.arange(0, 3001, 50.0)
    one, other = measure_abruptness(steps, rise(steps)), measure_abruptness(steps * 7, rise(steps))
    assert other.time.value == pytest.approx(7 * one.time.value)
    assert other.width.value == pytest.approx(one.width.value)
    assert other.steepest.value == pytest.approx(one.steepest.value)


def test_a_jump_on_noise_is_a_jump() -> None:
    steps = np.arange(0, 3001, 20.0)
    values = (steps > 1000) + np.random.default_rng(0).normal(0, 0.03, len(steps))
    found = measure_abruptness(steps, values)
    assert found.jumps is True
    assert found.width.most < 0.05
    assert found.steepest.value > 0.9 > found.smooth_steepest - 0.2
    assert found.noise == pytest.approx(0.03, rel=0.2)


def test_what_lies_between_two_evaluations_stays_open() -> None:
    steps = np.array([0.0, 100, 1000, 10_000, 20_000])
    found = measure_abruptness(steps, [0, 0, 0, 1, 1])
    assert (found.width.least, found.width.most) == (0.0, 9.0)
    assert (found.steepest.least, found.steepest.most) == (0.0, 1.0)
    assert found.jumps is None


def test_a_stretch_may_hold_an_evaluation_inside() -> None:
    """Jumps at 99.5 and 100.5 lie in one stretch, from 99 to 108.9, and no evaluation is at its ends."""
    steps = np.array([0.0, 50, 100, 200, 300])
    found = measure_abruptness(steps, [0, 0, 0.34, 0.66, 1])
    assert found.steepest.most == pytest.approx(0.66)
    assert found.jumps is None


@given(st.lists(st.floats(1.0, 1000.0), min_size=3, max_size=9, unique=True), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_no_stretch_of_any_curve_through_the_evaluations_rises_by_more(sample: list[float], seed: int) -> None:
    generator = np.random.default_rng(seed)
    jumps = generator.choice(sample, 12) * np.exp(generator.uniform(-0.1, 0.1, 12))
    heights = generator.dirichlet(np.full(12, 0.3))
    steps = np.array([0.0, *sorted(sample), 2000.0])

    def follow(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return (jumps <= at[:, None]) @ heights

    start = np.concatenate([jumps * (1 - 1e-6), jumps / 1.1 * (1 + 1e-6)])
    found = measure_abruptness(steps, follow(steps))
    assert (follow(start * 1.1) - follow(start)).max() <= found.steepest.most + 1e-6


def test_a_threshold_metric_makes_a_jump_of_none() -> None:
    steps = np.arange(0, 4001, 25.0)
    probability = rise(steps, slope=2.0)
    accuracy = np.mean([probability > level for level in (0.49, 0.5, 0.51)], axis=0)
    mirage = compare_metrics(steps, accuracy, probability)
    assert mirage.verdict == "on the threshold metric alone"
    assert mirage.shared.most < 0.1
    assert mirage.threshold.jumps
    assert compare_metrics(steps, steps > 1000, -np.log(0.01 + 0.9 * (steps > 1000))).verdict == "on both"
    assert compare_metrics(steps, probability, probability).verdict == "no jump"
    coarse = steps[::40]
    assert compare_metrics(coarse, coarse > 1000, coarse > 1000).verdict == "cannot be told"


@pytest.mark.parametrize(
    ("steps", "values", "error", "message"),
    [
        ([0, 1, 2, 3], [0.5, 0.5, 0.5, 0.5], SaltusError, "the curve stays at 0.5"),
        ([100], [1.0], SaltusError, "the curve has 1 evaluations after step 0"),
        ([0, 10, 20], [0.0, 1, 1], SaltusError, "too few"),
        ([0, 10, 20, 30], [0.0, np.nan, 1, 1], ValueError, "values has nan at step 10"),
        ([0, 10, 10, 30], [0.0, 1, 1, 1], ValueError, "strictly increasing"),
        ([-1, 10, 20, 30], [0.0, 1, 1, 1], ValueError, "at least 0"),
        ([0, 10], [0.0, 1, 1], ValueError, r"steps has shape \(2,\)"),
    ],
)
def test_bad_curves_are_named(steps: list[float], values: list[float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        measure_abruptness(steps, values)


def test_a_unit_that_was_there_from_the_start_has_a_time() -> None:
    found = measure_abruptness([0, 10, 20, 30], [0.0, 1, 1, 1])
    assert (found.time.least, found.time.most) == (0, 10)
    assert found.width.most == np.inf
