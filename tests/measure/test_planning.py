"""The planner: against closed forms and the tests it stands for, and what a pilot leaves open."""

from math import log, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from saltus.errors import SaltusError
from saltus.measure.bootstrap import bootstrap_seeds
from saltus.measure.closed_forms import bound_unseen, count_events, count_for_order, count_to_see
from saltus.measure.cure import fit_cure
from saltus.measure.interval_tests import compare_arms
from saltus.measure.intervals import bound_share
from saltus.measure.outlook import fit_outlook, guess_outlook, watch
from saltus.measure.planning import judge_many, plan_comparison, plan_median, plan_share, plan_sighting
from saltus.measure.scores import score_units

INF = float("inf")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(17)


def to_intervals(
    found: NDArray[np.float64], every: float, last: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.where(np.isinf(found), last, (found - 1) * every), np.where(np.isinf(found), INF, found * every)


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_the_planned_test_is_the_test_of_the_study(seeds: int, generator: np.random.Generator) -> None:
    steps = guess_outlook(300, 0.5, 0.8).simulate(12, 2 * seeds, generator)
    found = watch(steps, 50.0, 500.0)
    p_values, sooner = judge_many(found, generator)
    for study, p_value, excess in zip(found, p_values, sooner, strict=True):
        left, right = to_intervals(study, 50.0, 500.0)
        reference = compare_arms(left, right, np.repeat([0, 1], seeds), generator)
        assert p_value == pytest.approx(reference.p_value)
        assert excess * seeds == pytest.approx(reference.excess[0], abs=1e-6)


def test_comparison_agrees_with_noether(generator: np.random.Generator) -> None:
    ratio, spread = 1.4, 0.45
    probability = float(stats.norm.cdf(log(ratio) / (sqrt(2) * spread)))
    plan = plan_comparison(guess_outlook(1000, spread), ratio, 1.0, generator, budgets=[100_000])
    assert plan.answer is not None
    assert plan.answer.seeds == pytest.approx(count_for_order(probability) / 2, rel=0.12)
    assert plan.answer.success >= 0.8
    # three against three can never be significant
    assert next(row.seeds for row in plan.curve if row.success > 0) == 4
    assert plan.pilot is None


def test_log_rank_power_agrees_with_schoenfeld(generator: np.random.Generator) -> None:
    seeds = count_events(2) // 2
    z = np.zeros(300)
    for study in range(300):
        left = np.floor(20 * generator.exponential(np.repeat([1.0, 2.0], seeds))) / 20
        score = score_units(left, left + 0.05, "sun")
        z[study] = score[:seeds].sum() / np.sqrt(score.var(ddof=1) * seeds / 2)  # the permutation form
    assert (z > stats.norm.isf(0.025)).mean() == pytest.approx(0.8, abs=3 * sqrt(0.16 / 300))


def test_to_see_once_and_to_bound_a_share_agree_with_closed_forms() -> None:
    rare = guess_outlook(1000, 0.4, 0.1)
    seen = plan_sighting(rare, 10.0, budgets=[1e6])
    assert seen.answer is not None
    assert (seen.answer.seeds, seen.answer.budget) == (count_to_see(0.1), 1e6)
    assert seen.answer.success == pytest.approx(1 - 0.9**29)
    half = plan_share(guess_outlook(1000, 0.4, 0.5), 0.3, 10.0, certainty=0.5, budgets=[1e6])
    assert half.answer is not None
    wide = bound_share(half.answer.seeds // 2, half.answer.seeds)
    assert wide.upper - wide.lower <= 0.3 + 0.01
    none = bound_share(0, 10, 0.9)
    assert none.upper == pytest.approx(bound_unseen(10))


@pytest.mark.parametrize(("spread", "factor", "fewest"), [(0.4, 2.0, 6), (0.3, 1.5, 9)])
def test_the_fewest_seeds_that_place_a_median_are_found_where_more_do_worse(
    spread: float, factor: float, fewest: int
) -> None:
    """Of six seeds the first and the last bound the median, as of seven and eight, whose ends lie farther apart."""
    plan = plan_median(guess_outlook(1000, spread), factor, 20.0, np.random.default_rng(0), budgets=[20_000])
    assert plan.answer is not None
    assert plan.answer.seeds == fewest
    by_seeds = {row.seeds: row.success for row in plan.curve}
    assert all(success < plan.target for seeds, success in by_seeds.items() if seeds < fewest)


@pytest.mark.parametrize(("share", "width"), [(0.9, 0.4), (0.9, 0.3), (0.7, 0.5), (0.3, 0.4)])
def test_the_fewest_seeds_that_bound_a_share_are_found(share: float, width: float) -> None:
    plan = plan_share(guess_outlook(100, 0.45, share), width, 5.0, budgets=[10_000])

    def succeed(seeds: int) -> float:
        limits = [bound_share(count, seeds) for count in range(seeds + 1)]
        narrow = [limit.upper - limit.lower <= width + 1e-12 for limit in limits]
        return float(stats.binom.pmf(np.arange(seeds + 1), seeds, share)[narrow].sum())

    assert plan.answer is not None
    assert plan.answer.seeds == next(seeds for seeds in range(1, 200) if succeed(seeds) >= 0.8)


def test_a_short_budget_costs_seeds() -> None:
    plan = plan_sighting(guess_outlook(1000, 0.4, 0.5), 10.0, budgets=[600, 1000, 4000])
    needed = {row.budget: row.seeds for row in plan.budgets}
    assert needed[600] > needed[1000] > needed[4000]
    assert plan.answer is not None
    assert plan.answer.seeds * plan.answer.budget == min(seeds * budget for budget, seeds in needed.items())


def test_no_plan_exceeds_the_budgets_that_are_given(generator: np.random.Generator) -> None:
    """The last evaluation is at the budget, on the grid or not."""
    outlook, budgets = guess_outlook(100, 0.45), [25.0, 100.0, 200.0]
    plans = [
        plan_comparison(outlook, 3.0, 30.0, generator, budgets=budgets),
        plan_median(outlook, 2.0, 30.0, generator, budgets=budgets),
        plan_share(outlook, 0.5, 30.0, budgets=budgets),
        plan_sighting(outlook, 30.0, budgets=budgets),
    ]
    for plan in plans:
        assert plan.answer is not None
        assert {row.budget for row in (plan.answer, *plan.budgets, *plan.curve)} <= set(budgets)


def test_a_seed_that_is_first_seen_solved_at_the_budget_solved_by_then(generator: np.random.Generator) -> None:
    """Evaluated at 90 and 100, all solve in (90, 100], which a factor of 1.1 holds; (90, 180] it would not."""
    plan = plan_median(guess_outlook(95, 0.001), 1.1, 90.0, generator, budgets=[100])
    assert plan.answer is not None
    assert plan.answer.success == 1.0


def test_median_plan_is_what_the_bootstrap_then_gives(generator: np.random.Generator) -> None:
    outlook = guess_outlook(1000, 0.45)
    plan = plan_median(outlook, 1.5, 50.0, generator, budgets=[4000])
    assert plan.answer is not None
    narrow = 0
    for study in watch(outlook.simulate(60, plan.answer.seeds, generator), 50.0, 4000.0):
        median = bootstrap_seeds(*to_intervals(study, 50.0, 4000.0), generator, draws=400).quantile()
        narrow += median.upper <= 1.5**2 * median.lower
    assert narrow / 60 == pytest.approx(plan.answer.success, abs=0.2)
    by_grid = {row.every: row.success for row in plan.grids}
    assert by_grid[200.0] < by_grid[50.0] <= by_grid[0.0]  # a finer grid places the median better


def test_a_small_pilot_leaves_more_open_than_a_large_one(generator: np.random.Generator) -> None:
    steps = np.array([469.0, 563, 566, 712, 772, 783, 856, 876, 894, 927, 983, 1086, 1107, 1196, 2187, 2521])
    left = np.floor(steps / 25) * 25
    small, large = (fit_outlook(left[chosen], left[chosen] + 25, generator) for chosen in ([0, 8, 13], slice(None)))
    assert (small.seeds, large.seeds) == (3, 16)
    ends = [np.quantile(outlook.spread, [0.1, 0.9]) for outlook in (small, large)]
    assert ends[0][1] / ends[0][0] > 2 * ends[1][1] / ends[1][0]
    plans = [plan_comparison(outlook, 2.0, 25.0, generator, studies=200) for outlook in (small, large)]
    for plan in plans:
        assert plan.answer is not None
        assert plan.pilot is not None
        assert plan.answer.success_if_known > plan.answer.success - 0.02
    assert plans[0].pilot is not None
    assert plans[0].pilot.success == 0.0


def test_the_share_that_never_solves_is_carried(generator: np.random.Generator) -> None:
    left, right = [100.0, 150, 150, 250, 2000, 2000], [150.0, 200, 200, 300, INF, INF]
    outlook = fit_outlook(left, right, generator)
    assert np.median(outlook.share) == pytest.approx(4 / 6, abs=0.05)
    share = bound_share(4, 6, 0.8)
    assert np.quantile(outlook.share, [0.1, 0.9]) == pytest.approx([share.lower, share.upper], abs=0.1)


def test_a_seed_that_stopped_early_says_little_of_the_share(generator: np.random.Generator) -> None:
    left = np.array([900.0, 1000, 1100, 1200, 950, *[10_000.0] * 5])
    right = np.append(left[:5] + 100, [INF] * 5)
    beta = stats.beta(5.5, 5.5).ppf([0.1, 0.5, 0.9])  # all that ever solve do so long before 10,000
    shares = fit_outlook(left, right, generator, draws=1_500).share
    assert np.quantile(shares, [0.1, 0.5, 0.9]) == pytest.approx(beta, abs=0.03)
    for stopped in (100.0, 200.0, 300.0):
        shares = fit_outlook(np.append(left, stopped), np.append(right, INF), generator, draws=1_500).share
        assert np.quantile(shares, [0.1, 0.5, 0.9]) == pytest.approx(beta, abs=0.03)


@pytest.mark.parametrize("budgets", [[800.0] * 20, [400.0] * 5 + [800.0] * 5 + [1200.0] * 10])
def test_the_share_that_is_believed_is_that_of_the_cure_model(
    budgets: list[float], generator: np.random.Generator
) -> None:
    left = np.append(np.linspace(300, 790, 30), budgets)
    right = np.append(left[:30] + 10, [INF] * 20)
    outlook, mixture = fit_outlook(left, right, generator, draws=2_000), fit_cure(left, right)
    assert np.median(outlook.share) == pytest.approx(mixture.share.value, abs=0.05)


def test_what_no_number_of_seeds_reaches(generator: np.random.Generator) -> None:
    outlook = guess_outlook(1000, 0.45, 0.5)
    plan = plan_comparison(outlook, 1.01, 50.0, generator, budgets=[2000], studies=50)
    assert (plan.answer, plan.budgets, plan.grids) == (None, (), ())
    assert plan.curve[-1].seeds == 512
    hopeless = plan_median(guess_outlook(1000, 0.45, 0.3), 1.5, 50.0, generator, budgets=[5000], studies=50)
    assert hopeless.answer is None  # seven in ten seeds never solve: there is no median


def test_bad_arguments_are_named(generator: np.random.Generator) -> None:
    outlook = guess_outlook(1000, 0.45)
    with pytest.raises(ValueError, match="ratio is 1"):
        plan_comparison(outlook, 1, 50, generator)
    with pytest.raises(ValueError, match="power is 80"):
        plan_comparison(outlook, 2, 50, generator, power=80)
    with pytest.raises(ValueError, match="every is nan"):
        plan_sighting(outlook, float("nan"))
    with pytest.raises(ValueError, match="budgets are"):
        plan_sighting(outlook, 10, budgets=[0])
    with pytest.raises(ValueError, match="factor is 1"):
        plan_median(outlook, 1.0, 50, generator)
    with pytest.raises(ValueError, match="median is -1"):
        guess_outlook(-1, 0.45)
    with pytest.raises(SaltusError, match="cannot be told"):
        fit_outlook([100, 100], [200, 200], generator)
    with pytest.raises(SaltusError, match="none of 3 seeds emerged"):
        fit_outlook([100] * 3, [INF] * 3, generator)
