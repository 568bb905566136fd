"""The share that ever solves, apart from when."""

import numpy as np
import pytest
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.measure.cure import fit_cure
from saltus.measure.intervals import bound_share
from saltus.measure.parametric import fit_steps

INF = float("inf")


def train(
    generator: np.random.Generator, seeds: int, share: float, budget: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    steps = generator.lognormal(np.log(500), 0.45, seeds)
    steps[generator.random(seeds) > share] = INF
    left = np.minimum(np.ceil(np.minimum(steps, 1e9) / 50) * 50 - 50, budget)
    return left, np.where(steps > budget, INF, left + 50)


def test_share_and_time_are_recovered() -> None:
    generator = np.random.default_rng(1)
    fits = [fit_cure(*train(generator, 60, 0.7, 2000)) for _ in range(8)]
    assert np.mean([fit.share.value or 0 for fit in fits]) == pytest.approx(0.7, abs=0.07)
    assert np.mean([fit.median.value or 0 for fit in fits]) == pytest.approx(500, rel=0.06)
    assert np.mean([fit.spread for fit in fits]) == pytest.approx(0.45, rel=0.1)
    assert all(fit.p_all_solve < 0.01 for fit in fits)
    assert sum(fit.share.lower <= 0.7 <= fit.share.upper for fit in fits) >= 6
    assert sum(fit.median.lower <= 500 <= fit.median.upper for fit in fits) >= 6


def test_a_clear_plateau_is_the_share_of_seeds() -> None:
    # all that solve do so long before the budget: the mixture falls into a binomial and a fit of those who solve
    left, right = np.array([100.0, 200, 250, 400, *[9000] * 4]), np.array([150.0, 250, 300, 450, *[INF] * 4])
    found, share = fit_cure(left, right), bound_share(4, 8)
    assert found.share.value == pytest.approx(0.5, abs=1e-3)
    assert found.share.lower == share.lower
    assert found.share.upper == pytest.approx(share.upper, abs=0.03)
    alone = fit_steps(left[:4], right[:4])
    assert found.median.value == pytest.approx(alone.bound_quantile().value, rel=1e-2)
    assert (found.median.lower, found.median.upper) == pytest.approx(
        (alone.bound_quantile().lower, alone.bound_quantile().upper), rel=0.05
    )
    assert (found.units, found.events) == (8, 4)


def test_an_early_budget_cannot_tell_never_from_late() -> None:
    left, right = train(np.random.default_rng(5), 24, 1.0, 500)
    found = fit_cure(left, right)
    assert found.share.upper == pytest.approx(1.0, abs=1e-3)
    assert found.p_all_solve > 0.05


def test_where_all_solve_it_is_the_plain_fit() -> None:
    left, right = np.array([100.0, 200, 250, 400]), np.array([150.0, 250, 300, 450])
    found, plain = fit_cure(left, right, "weibull"), fit_steps(left, right, family="weibull")
    assert found.share.value == 1.0
    assert found.share.lower == bound_share(4, 4).lower
    assert found.log_likelihood == pytest.approx(plain.log_likelihood)
    assert found.median.value == pytest.approx(plain.bound_quantile().value)
    assert found.p_all_solve == 1.0


def test_data_without_an_answer_get_a_sentence() -> None:
    with pytest.raises(SaltusError, match="none of 3 seeds emerged"):
        fit_cure([9, 9, 9], [INF, INF, INF])
    with pytest.raises(SaltusError, match="the spread of their steps cannot be told"):
        fit_cure([5, 5, 20], [9, 9, INF])
    with pytest.raises(SaltusError, match="were there at step 0"):
        fit_cure([-1, 5, 9], [0, 9, 12])
