"""The bootstrap over seeds: exact intervals where there are any, and nothing invented where there are none."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from saltus.measure.bootstrap import bootstrap_seeds
from saltus.measure.intervals import bound_share
from saltus.measure.turnbull import estimate_turnbull

INF = float("inf")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_survival_and_shares_have_clopper_and_pearsons_limits(generator: np.random.Generator) -> None:
    left = np.array([0.0, 100, 100, 200, 300, 400, 400, 400])
    right = np.array([100.0, 200, 200, 300, 400, INF, INF, INF])
    found = bootstrap_seeds(left, right, generator, draws=40_000)
    band = found.band([0, 100, 200, 300, 400])
    exact = [bound_share(int((left >= step).sum()), 8) for step in band.steps]
    assert_allclose(band.lower, [share.lower for share in exact], atol=0.01)
    assert_allclose(band.upper, [share.upper for share in exact], atol=0.01)
    assert_allclose(band.latest, [share.value or 0.0 for share in exact])
    solved, reference = found.solved_by(400), bound_share(5, 8)
    assert solved.value == pytest.approx(reference.value)
    assert (solved.lower, solved.upper) == pytest.approx((reference.lower, reference.upper), abs=0.01)


@pytest.mark.parametrize("seeds", [3, 6, 9, 16])
def test_the_median_lies_between_the_order_statistics_of_the_sign_test(
    seeds: int, generator: np.random.Generator
) -> None:
    right = np.arange(1.0, seeds + 1) * 100
    found = bootstrap_seeds(right - 100, right, generator, draws=20_000).quantile(0.5)
    out = int(stats.binom.ppf(0.025, seeds, 0.5))  # so many seeds may be left out on each side
    assert found.lower == (right[out - 1] - 100 if out else 0.0)
    assert found.upper == (right[seeds - out] if out else INF)


def test_the_restricted_mean_of_a_step_of_two_values_is_a_share(generator: np.random.Generator) -> None:
    # min(step, 1) is 0 for who is there at step 0 and 1 for the others: Gaffke's bound is Clopper and Pearson's
    found = bootstrap_seeds([-1, -1, 5, 5, 5], [0, 0, 6, 6, 6], generator, draws=40_000).restricted_mean(1.0)
    reference = bound_share(3, 5)
    assert found.value == pytest.approx(0.6)
    assert (found.lower, found.upper) == pytest.approx((reference.lower, reference.upper), abs=0.01)


def test_rows_of_one_seed_are_one_observation(generator: np.random.Generator) -> None:
    # 3 seeds of 16 rows that agree within the seed say as much as 3 units
    left = np.array([0.0, 100, 200])
    alone = bootstrap_seeds(left, left + 100, generator, draws=20_000)
    rows = bootstrap_seeds(
        np.repeat(left, 16), np.repeat(left + 100, 16), generator, seeds=np.repeat([5, 3, 4], 16), draws=20_000
    )
    assert rows.seeds == 3
    assert_allclose(rows.band(left).lower, alone.band(left).lower, atol=0.01)
    assert_allclose(rows.band(left).upper, alone.band(left).upper, atol=0.01)
    assert (rows.quantile().lower, rows.quantile().upper) == (0.0, INF)
    independent = bootstrap_seeds(np.repeat(left, 16), np.repeat(left + 100, 16), generator)
    assert independent.quantile().upper < INF


def test_overlapping_intervals_are_weighed_by_turnbull(generator: np.random.Generator) -> None:
    left, right = np.array([0.0, 50, 120, 100, 300]), np.array([100.0, 150, 300, INF, 400])
    found = bootstrap_seeds(left, right, generator, draws=50)
    weights = np.random.default_rng(7).dirichlet(np.ones(6), size=50)  # the same stream
    steps = np.array([50.0, 150, 350])
    lower = [estimate_turnbull([*left, -1], [*right, 0], draw).survival_at(steps)[0] for draw in weights]
    upper = [estimate_turnbull([*left, 400], [*right, INF], draw).survival_at(steps)[1] for draw in weights]
    assert_allclose(found.soonest.survive(steps)[0], lower, atol=1e-6)
    assert_allclose(found.latest.survive(steps)[1], upper, atol=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "value"),
    [([5], [7], 6.0), ([9], [INF], INF), ([9, 9, 9], [INF, INF, INF], INF), ([-1], [0], 0.0)],
)
def test_one_seed_or_no_event_bounds_nothing_that_it_cannot(
    left: list[float], right: list[float], value: float, generator: np.random.Generator
) -> None:
    found = bootstrap_seeds(left, right, generator)
    assert (found.quantile().value, found.quantile().lower, found.quantile().upper) == (value, 0.0, INF)
    share = found.solved_by(9)
    assert share.value is not None
    assert 0.0 <= share.lower <= share.value <= share.upper <= 1.0
    assert share.upper - share.lower > 0.6


def test_what_ended_before_the_step_of_interest_is_left_open(generator: np.random.Generator) -> None:
    found = bootstrap_seeds([10, 20, 10], [20, 30, INF], generator)
    assert found.solved_by(15).value is None
    assert found.solved_by(40).value == pytest.approx(
        1.0
    )  # Turnbull's estimate gives the censored seed's mass to 20-30
    assert bootstrap_seeds([10, 20], [20, INF], generator).solved_by(40).value is None
    assert bootstrap_seeds([10, 20], [20, INF], generator).restricted_mean(40).value is None


def test_bad_level_is_named(generator: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="level is 0"):
        bootstrap_seeds([1], [2], generator).quantile(level=0.0)
