"""Parametric fits: derivatives, scipy's own fits, exact intervals of the normal distribution, recovery, no maximum."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from saltus.errors import SaltusError
from saltus.measure.likelihood import FAMILIES, FamilyName, Likelihood, find_start
from saltus.measure.parametric import fit_steps

INF = float("inf")
NAMES: list[FamilyName] = ["log-normal", "weibull", "log-logistic"]
NOISE: dict[FamilyName, Any] = {"log-normal": stats.norm, "weibull": stats.gumbel_l, "log-logistic": stats.logistic}


def watch(
    steps: NDArray[np.float64], every: float = 50.0, budget: float = INF
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals on a grid of evaluations until the budget."""
    left = np.ceil(steps / every) * every - every
    right = left + every
    return np.minimum(left, budget), np.where(right > budget, INF, right)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("odds", [0.0, 0.4])
@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_derivatives_are_differences(name: FamilyName, odds: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    left = generator.normal(0.0, 1.0, 8)
    right = left + generator.exponential(1.0, 8)
    left[0], right[1], right[2] = -INF, INF, left[2]  # from the start, censored, exact
    design = np.column_stack([np.ones(8), generator.normal(size=8)])
    likelihood = Likelihood(FAMILIES[name], left, right, design, odds)
    theta = np.append(generator.normal(0.0, 0.3, 2), 0.7)
    _, gradient, hessian = likelihood.evaluate(theta)
    steps = 1e-5 * np.eye(3)
    ahead, behind = ([likelihood.evaluate(theta + sign * step) for step in steps] for sign in (1, -1))
    assert_allclose(gradient, [(a[0] - b[0]) / 2e-5 for a, b in zip(ahead, behind, strict=True)], atol=1e-5)
    assert_allclose(hessian, [(a[1] - b[1]) / 2e-5 for a, b in zip(ahead, behind, strict=True)], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_fit_agrees_with_scipy(name: FamilyName) -> None:
    noise = NOISE[name]
    steps = np.exp(6.0 + 0.4 * noise.rvs(size=40, random_state=3))
    left, right = watch(steps, 100.0, 700.0)
    found = fit_steps(left, right, family=name)
    with np.errstate(divide="ignore"):
        ends = np.log(np.column_stack([left, right]))
    started, seen = np.isinf(ends[:, 0]), np.isfinite(ends[:, 1])
    data = stats.CensoredData(
        left=ends[started, 1], right=ends[~seen, 0], interval=ends[seen & ~started], uncensored=[]
    )
    location, scale = noise.fit(data)
    assert found.coefficients["intercept"] == pytest.approx(location, abs=1e-3)
    assert found.spread == pytest.approx(scale, abs=1e-3)
    assert (found.units, found.events) == (40, int(seen.sum()))
    median = found.bound_quantile(0.5)
    assert median.value == pytest.approx(np.exp(location + scale * noise.ppf(0.5)), rel=1e-3)


@given(st.integers(0, 50), st.sampled_from([3, 6, 15]), st.sampled_from([0.8, 0.95]))
@settings(max_examples=12, deadline=None)
def test_limits_for_exact_normal_logs_are_students(seed: int, seeds: int, level: float) -> None:
    logs = np.random.default_rng(seed).normal(6.0, 0.5, seeds)
    found = fit_steps(np.exp(logs), np.exp(logs))
    mean = found.bound_coefficient("intercept", level)
    expected = stats.t.interval(level, seeds - 1, logs.mean(), logs.std(ddof=1) / np.sqrt(seeds))
    assert (mean.lower, mean.upper) == pytest.approx(expected, rel=1e-5)
    spread = found.bound_spread(level)
    sums = seeds * found.spread**2
    inside = stats.chi2.cdf(sums / spread.lower**2, seeds - 1) - stats.chi2.cdf(sums / spread.upper**2, seeds - 1)
    assert inside == pytest.approx(level, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_line_through_sizes_seeds_and_censoring_is_recovered(name: FamilyName) -> None:
    generator = np.random.default_rng(8)
    logs = np.log(np.repeat([70.0, 160, 410, 1400], 8))
    slopes, covered = [], 0
    for _ in range(12):
        steps = np.exp(8.0 - 0.35 * logs + 0.35 * NOISE[name].rvs(size=32, random_state=generator))
        found = fit_steps(*watch(steps, 25.0, 600.0), logs[:, None], ["log N"], name)
        slope = found.bound_coefficient("log N")
        slopes.append(found.coefficients["log N"])
        covered += slope.lower <= -0.35 <= slope.upper
    assert np.mean(slopes) == pytest.approx(-0.35, abs=3 * float(np.std(slopes)) / np.sqrt(12))
    assert covered >= 9  # 95% of 12 would be less than 9 once in 400


def test_right_ends_are_biased_and_intervals_are_not() -> None:
    steps = np.random.default_rng(0).lognormal(np.log(500.0), 0.4, 400)
    left, right = watch(steps, 200.0)
    assert fit_steps(right, right).bound_quantile().value == pytest.approx(500.0 * 1.2, rel=0.07)
    assert fit_steps(left, right).bound_quantile().value == pytest.approx(500.0, rel=0.05)


def test_limits_open_where_censoring_hides_the_upper_end() -> None:
    found = fit_steps([100, 100, 250, 400, 400, 400], [150, 200, 300, INF, INF, INF])
    median = found.bound_quantile(0.5)
    assert median.value is not None
    assert 0.0 < median.lower < 300 < median.upper
    few = fit_steps([100, 300, 400], [200, INF, INF])
    assert (few.bound_coefficient("intercept").lower, few.bound_coefficient("intercept").upper) == (-INF, INF)
    assert (few.bound_spread().lower, few.bound_spread().upper) == (0.0, INF)


@pytest.mark.parametrize(
    ("left", "right", "covariates", "message"),
    [
        ([5, 5, 5], [INF, INF, INF], None, "too few units emerged"),
        ([5, 5, 5], [9, 9, 9], None, "the spread of their steps cannot be told"),
        ([5], [9], None, "the spread of their steps cannot be told"),
        ([5, 9, 5], [9, 12, 9], None, "the spread of their steps cannot be told"),  # all touch 9
        ([5, 20, 30, 50, 50], [9, 30, 40, INF, INF], [0, 0, 0, 1, 1], "too few units emerged"),  # a group never emerges
        ([5, 20, 30], [9, 30, 40], [2, 2, 2], "the same for all units"),
        ([-1, 20, 30], [0, 30, 40], None, "1 units were there at step 0"),
    ],
)
def test_data_without_an_answer_get_a_sentence(
    left: list[float], right: list[float], covariates: list[float] | None, message: str
) -> None:
    table = None if covariates is None else np.array(covariates, dtype=float)[:, None]
    with pytest.raises(SaltusError, match=message):
        fit_steps(left, right, table, ["x"] if covariates else [])


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="family is normal"):
        fit_steps([1, 2], [2, 3], family="normal")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"covariates have shape \(2, 0\)"):
        fit_steps([1, 2], [2, 3], names=["x"])
    with pytest.raises(ValueError, match="finite number for each of the 2 units"):
        fit_steps([1, 2], [2, 3], [[1.0], [np.nan]], ["x"])
    found = fit_steps([1, 4, 9], [2, 5, 12])
    with pytest.raises(ValueError, match="name is 'log N'; allowed are intercept"):
        found.bound_coefficient("log N")
    with pytest.raises(ValueError, match="covariates are"):
        found.bound_quantile(0.5, [1.0])
    with pytest.raises(ValueError, match="share is 0"):
        found.bound_quantile(0.0)
    with pytest.raises(ValueError, match="level is 1"):
        found.bound_spread(1.0)


def test_any_start_is_left_behind() -> None:
    likelihood = Likelihood(FAMILIES["weibull"], np.log([3.0, 5, 9]), np.log([4.0, 9, 30]), np.ones((3, 1)))
    best, value = likelihood.maximise(find_start(likelihood))
    for start in ([-5.0, 0.1], [20.0, 5.0]):
        other, found = likelihood.maximise(np.array(start))
        assert_allclose(other, best, rtol=1e-4)
        assert found == pytest.approx(value)
