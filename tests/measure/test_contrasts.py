"""Effect sizes: limits against independent ones, symmetry, pairs, and arms that cannot be compared."""

import numpy as np
import pytest
from numpy.typing import NDArray

from saltus.measure.contrasts import contrast_arms, find_horizon
from saltus.measure.step_ratio import bound_step_ratio

INF = float("inf")
Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(11)


def on_grid(steps: NDArray[np.float64], every: float = 10.0, budget: float = INF) -> Ends:
    left = np.ceil(steps / every) * every - every
    right = left + every
    return np.minimum(left, budget), np.where(right > budget, INF, right)


def test_shares_are_those_of_two_binomials(generator: np.random.Generator) -> None:
    a = np.repeat([90.0, 100.0], [7, 3]), np.repeat([100.0, INF], [7, 3])
    b = np.repeat([90.0, 100.0], [4, 8]), np.repeat([100.0, INF], [4, 8])
    found = contrast_arms(a, b, generator, draws=40_000).share_difference
    # mid-p melding of Clopper and Pearson's distributions, Fay, Proschan and Brittain (2015), section 4
    draws = [
        np.where(
            generator.random(40_000) < 0.5, generator.beta(x + 1, n - x, 40_000), generator.beta(x, n - x + 1, 40_000)
        )
        for x, n in ((7, 10), (4, 12))
    ]
    assert found.value == pytest.approx(4 / 12 - 7 / 10)
    assert (found.lower, found.upper) == pytest.approx(np.quantile(draws[1] - draws[0], [0.025, 0.975]), abs=0.015)


def test_swapped_arms_give_the_opposite(generator: np.random.Generator) -> None:
    a = on_grid(generator.lognormal(5.0, 0.4, 9), budget=300)
    b = on_grid(generator.lognormal(5.4, 0.4, 12), budget=300)
    there = contrast_arms(a, b, generator, draws=20_000)
    back = contrast_arms(b, a, generator, draws=20_000)
    assert there.median_ratio.value == pytest.approx(1 / (back.median_ratio.value or 0))
    assert there.median_ratio.lower == pytest.approx(1 / back.median_ratio.upper, rel=0.1)
    for one, other in ((there.share_difference, back.share_difference), (there.mean_difference, back.mean_difference)):
        assert one.value == pytest.approx(-(other.value or 0))
        assert one.lower == pytest.approx(-other.upper, abs=0.03 * (one.upper - one.lower))


def test_pairs_take_the_spread_between_seeds_out(generator: np.random.Generator) -> None:
    seeds = np.arange(24)
    common = generator.lognormal(6.0, 0.8, 24)
    a, b = (on_grid(common * f * generator.lognormal(0, 0.05, 24)) for f in (1.0, 1.3))
    paired = contrast_arms(a, b, generator, seeds=(seeds, seeds), paired=True)
    alone = contrast_arms(a, b, generator)
    assert paired.median_ratio.value == alone.median_ratio.value
    assert paired.median_ratio.lower > 1 > alone.median_ratio.lower
    one, other = (bound_step_ratio(a, b, generator, seeds=(seeds, seeds), paired=pair) for pair in (True, False))
    assert one.value == pytest.approx(1.3, rel=0.05)
    assert 1.2 < one.lower < one.upper < 1.4
    assert other.lower < 1.0 < other.upper


def test_rows_of_one_run_are_one_observation(generator: np.random.Generator) -> None:
    a, b = on_grid(np.array([50.0, 70, 90])), on_grid(np.array([200.0, 220, 300]))
    many_a, many_b = ((np.repeat(left, 20), np.repeat(right, 20)) for left, right in (a, b))
    seeds = np.repeat([1, 2, 3], 20)
    rows = contrast_arms(many_a, many_b, generator, seeds=(seeds, seeds))
    assert (rows.median_ratio.lower, rows.median_ratio.upper) == (0.0, INF)
    assert rows.median_ratio.value == pytest.approx(215 / 65)
    assert contrast_arms(many_a, many_b, generator).median_ratio.lower > 1
    assert bound_step_ratio(many_a, many_b, generator, seeds=(seeds, seeds)).lower == 0.0


def test_a_ratio_of_steps_is_found_and_covered(generator: np.random.Generator) -> None:
    covered = 0
    for _ in range(25):
        a = on_grid(generator.lognormal(6.0, 0.4, 6), budget=900)
        b = on_grid(generator.lognormal(6.0 + np.log(2), 0.4, 6), budget=900)
        found = bound_step_ratio(a, b, generator)
        covered += found.lower <= 2.0 <= found.upper
    assert covered >= 21  # 95% of 25 would be less than 21 once in 30


def test_what_cannot_be_told(generator: np.random.Generator) -> None:
    never, one = (np.array([90.0]), np.array([INF])), (np.array([10.0]), np.array([20.0]))
    nothing = contrast_arms(never, never, generator)
    assert nothing.median_ratio.value is None
    assert (nothing.median_ratio.lower, nothing.median_ratio.upper) == (0.0, INF)
    assert nothing.share_difference.value == 0.0
    assert nothing.share_difference.lower < -0.8
    assert bound_step_ratio(never, never, generator).value is None
    single = contrast_arms(one, never, generator)
    assert single.median_ratio.value == INF
    assert (single.median_ratio.lower, single.median_ratio.upper) == (0.0, INF)
    # the arm that never emerges is slower by at least some factor, and by how much nobody knows
    a, b = on_grid(np.linspace(20, 60, 8)), (np.full(8, 400.0), np.full(8, INF))
    found = bound_step_ratio(a, b, generator)
    assert found.value is None
    assert found.lower > 5
    assert found.upper == INF
    unknown = contrast_arms((np.array([10.0, 20]), np.array([20.0, INF])), one, generator, horizon=50)
    assert (unknown.share_difference.value, unknown.mean_difference.value) == (None, None)


def test_the_horizon_is_the_last_step_that_all_were_watched() -> None:
    a = np.array([0.0, 50, 80]), np.array([10.0, INF, INF])
    assert find_horizon([a, (np.array([0.0]), np.array([400.0]))]) == 50
    assert find_horizon([(np.array([0.0, 30]), np.array([10.0, 40]))]) == 40
    assert find_horizon([(np.array([-1.0]), np.array([0.0]))]) == 1


def test_bad_arms_are_named(generator: np.random.Generator) -> None:
    good = [1.0], [2.0]
    with pytest.raises(ValueError, match="left of arm B has 3 where right of arm B has 2"):
        contrast_arms(good, ([3], [2]), generator)
    with pytest.raises(ValueError, match="paired is True without seeds"):
        contrast_arms(good, good, generator, paired=True)
    with pytest.raises(ValueError, match="seed 4 is in one arm alone"):
        contrast_arms(good, good, generator, seeds=([4], [5]), paired=True)
    with pytest.raises(ValueError, match="horizon is 0"):
        contrast_arms(good, good, generator, horizon=0)
    with pytest.raises(ValueError, match="right of arm A has nan"):
        bound_step_ratio(([1], [float("nan")]), good, generator)
