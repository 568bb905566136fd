"""Permutation tests of arms: exact p-values by hand and by brute force, designs, and what cannot be told."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from saltus.measure import interval_tests
from saltus.measure.interval_tests import adjust_holm, compare_arms
from saltus.measure.scores import compare_hazards, score_units
from saltus.measure.turnbull import estimate_turnbull

INF = float("inf")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def on_grid(steps: NDArray[np.float64], every: float = 10.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left = np.ceil(steps / every) * every - every
    return left, left + every


def test_three_against_three_cannot_go_below_a_tenth(generator: np.random.Generator) -> None:
    found = compare_arms([0, 10, 20, 100, 110, 120], [10, 20, 30, 110, 120, 130], [0, 0, 0, 1, 1, 1], generator)
    assert (found.p_value, found.smallest, found.permutations, found.exact) == (0.1, 0.1, 20, True)
    assert found.excess[0] > 0 > found.excess[1]
    assert found.z is not None
    assert found.z > 0
    assert found.statistic == pytest.approx(found.z**2)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.booleans()), min_size=4, max_size=7))
@settings(max_examples=40, deadline=None)
def test_exact_p_is_the_share_of_all_orders(sample: list[tuple[int, int, bool]]) -> None:
    arm = np.array([a for a, _, _ in sample])
    left = np.array([float(step) for _, step, _ in sample])
    right = np.where([seen for _, _, seen in sample], left + 2, INF)  # overlapping, some censored
    if len(set(arm.tolist())) < 2:
        return
    found = compare_arms(left, right, arm, np.random.default_rng(0), kind="sun")
    score = score_units(left, right, "sun")
    score = score - score.mean()

    def spread(order: tuple[int, ...]) -> float:
        """Between-arm sum of squares, which for the divisions of one set grows with the quadratic form."""
        own = arm[list(order)]
        return sum(score[own == a].sum() ** 2 / (own == a).sum() for a in set(arm.tolist()))

    values = np.array([spread(order) for order in permutations(range(len(arm)))])
    assert found.p_value == pytest.approx((values >= values[0] - 1e-6).mean())
    assert found.smallest == pytest.approx((values >= values.max() - 1e-6).mean())


def test_scores_that_tie_by_a_hair_are_ties(generator: np.random.Generator) -> None:
    # the cell (3, 4] gains nothing by having mass, so its mass goes to 0 slowly, and is not 0 in any finite time
    for left in ([1.0, 2, 4, 3], [1.0, 2, 3, 4]):
        found = compare_arms(left, [3, 4, INF, INF], [0, 0, 0, 1], generator, kind="sun")
        assert (found.p_value, found.smallest) == (1.0, 1.0)


def test_pairs_flip_signs(generator: np.random.Generator) -> None:
    steps = np.array([50.0, 90, 130, 170, 210, 65, 85, 160, 230, 290])
    arm, seed = np.repeat(["a", "b"], 5), np.tile(np.arange(5), 2)
    left, right = on_grid(steps)
    found = compare_arms(left, right, arm, generator, seeds=seed, paired=True)
    score = score_units(left, right, "wilcoxon")
    difference = score[:5] - score[5:]
    flipped = np.array([abs(difference @ np.array(signs)) for signs in product((1, -1), repeat=5)])
    assert found.permutations == 32
    assert found.p_value == pytest.approx((flipped >= flipped[0] - 1e-12).mean())
    assert found.z == pytest.approx(difference.sum() / np.sqrt((difference**2).sum()))
    # the same difference is hidden by the spread between seeds where they are not paired
    assert compare_arms(left, right, arm, generator).p_value > 2 * found.p_value


def test_pairs_in_any_order_and_of_many_arms(generator: np.random.Generator) -> None:
    steps = np.array([50.0, 90, 130, 65, 85, 160, 45, 80, 120])
    arm, seed = np.repeat([0, 1, 2], 3), np.tile([7, 8, 9], 3)
    order = generator.permutation(9)
    left, right = on_grid(steps)
    one = compare_arms(left, right, arm, generator, seeds=seed, paired=True)
    other = compare_arms(left[order], right[order], arm[order], generator, seeds=seed[order], paired=True)
    assert one.permutations == 6**3
    assert one.p_value == other.p_value
    assert_allclose(one.excess, other.excess)


def test_rows_of_one_run_move_together(generator: np.random.Generator) -> None:
    # sixteen equal rows of each run say what one row says; as independent units they would say far more
    left, right = on_grid(np.array([50.0, 90, 130, 140, 190, 250]))
    arm, seed = np.repeat([0, 1], 3), np.arange(6)
    alone = compare_arms(left, right, arm, generator)
    many = np.repeat(left, 16), np.repeat(right, 16), np.repeat(arm, 16)
    rows = compare_arms(*many, generator, seeds=np.repeat(seed, 16))
    assert rows.seeds == (3, 3)
    assert rows.p_value == alone.p_value
    assert rows.z == pytest.approx(alone.z)
    pooled = compare_arms(*many, generator)
    assert pooled.p_value < 0.01 < rows.p_value


def test_strata_are_compared_within(generator: np.random.Generator) -> None:
    # each stratum has arm b later, and the strata differ by more: without strata nothing is seen
    left, right = on_grid(np.array([10.0, 20, 30, 40, 1010, 1020, 1030, 1040]))
    arm, stratum = np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.repeat([0, 1], 4)
    within = compare_arms(left, right, arm, generator, strata=stratum)
    assert within.permutations == 36
    assert within.p_value == pytest.approx(2 / 36)
    assert compare_arms(left, right, arm, generator).p_value > 0.3


def test_many_permutations_are_drawn(generator: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = on_grid(generator.lognormal(5, 0.5, 12))
    arm = np.repeat([0, 1], 6)
    exact = compare_arms(left, right, arm, generator)
    monkeypatch.setattr(interval_tests, "EXACT", 100)
    drawn = compare_arms(left, right, arm, generator)
    assert (exact.exact, exact.permutations, drawn.exact, drawn.permutations) == (True, 924, False, 9_999)
    assert drawn.p_value == pytest.approx(exact.p_value, abs=4 * np.sqrt(exact.p_value / 9_999))
    assert drawn.smallest == pytest.approx(exact.smallest, abs=4 * np.sqrt(exact.smallest / 9_999))
    # the largest statistic of all, which is among few draws or none of them
    monkeypatch.setattr(interval_tests, "DRAWS", 20)
    apart = compare_arms(*on_grid(np.arange(10.0, 250.0, 10)), np.repeat([0, 1], 12), generator)
    assert apart.p_value == apart.smallest == 1 / 21


def test_many_seeds_of_which_all_but_one_are_alike_could_show_nothing(generator: np.random.Generator) -> None:
    right = np.append(100.0, np.full(19, INF))
    found = compare_arms(np.where(right == 100.0, 0.0, 1000.0), right, np.repeat([0, 1], 10), generator)
    assert (found.exact, found.p_value, found.smallest) == (False, 1.0, 1.0)
    equal = compare_arms(np.zeros(20), np.full(20, 10.0), np.repeat([0, 1], 10), generator)
    assert (equal.exact, equal.p_value, equal.smallest) == (False, 1.0, 1.0)


@pytest.mark.parametrize("kind", ["sun", "finkelstein", "wilcoxon"])
def test_scores_add_up_to_nothing(kind: interval_tests.ScoreKind, generator: np.random.Generator) -> None:
    left = generator.integers(-1, 20, 40).astype(float)
    right = np.where(generator.random(40) < 0.3, INF, left + generator.integers(1, 9, 40))
    score = score_units(left, right, kind)
    assert score.sum() == pytest.approx(0.0, abs=1e-6)
    assert score[left == left.max()].max() < score[right == right.min()].min()


@pytest.mark.parametrize(
    ("left", "right"),
    [([9, 9, 9, 9], [INF, INF, INF, INF]), ([0, 0, 0, 0], [5, 5, 5, 5]), ([-1, -1, -1, -1], [0, 0, 0, 0])],
)
def test_no_difference_between_any_seeds_says_nothing(
    left: list[float], right: list[float], generator: np.random.Generator
) -> None:
    found = compare_arms(left, right, [0, 0, 1, 1], generator)
    assert (found.z, found.statistic, found.p_approximate) == (None, None, None)
    assert (found.p_value, found.smallest) == (1.0, 1.0)


def test_one_seed_in_each_arm_says_nothing(generator: np.random.Generator) -> None:
    found = compare_arms([0, 500], [10, INF], [0, 1], generator)
    assert (found.p_value, found.smallest, found.permutations) == (1.0, 1.0, 2)


def test_hazards_agree_with_differences_of_the_likelihood() -> None:
    left = np.array([0.0, 10, 10, 20, 20, 30, 30, 40, 0, 20, 30, 40])
    right = np.array([10.0, 30, 20, 30, 40, 40, INF, INF, 30, INF, 50, 50])
    arm = np.tile([0, 1, 2], 4)
    pooled = estimate_turnbull(left, right)
    cells = len(pooled.mass)

    def likelihood(point: NDArray[np.float64]) -> float:
        """Of two effects and the masses but the last: arm a survives as S to the power exp(effect of a)."""
        masses = np.append(point[2:], 1 - point[2:].sum())
        power = np.exp(np.array([0.0, *point[:2]])[arm])
        survive = [(end[:, None] <= pooled.left) @ masses for end in (left, np.where(np.isinf(right), 1e9, right))]
        return float(np.log(survive[0] ** power - survive[1] ** power).sum())

    start, step = np.concatenate([[0.0, 0.0], pooled.mass[:-1]]), 1e-4
    basis = step * np.eye(cells + 1)
    slope = np.array([likelihood(start + e) - likelihood(start - e) for e in basis[:2]]) / (2 * step)
    curve = np.array(
        [
            [sum(s * t * likelihood(start + s * e + t * f) for s in (1, -1) for t in (1, -1)) for e in basis]
            for f in basis
        ]
    ) / (4 * step**2)
    variance = np.linalg.inv(-curve)[:2, :2]
    found = compare_hazards(left, right, arm)
    assert found.degrees == 2
    assert found.statistic == pytest.approx(slope @ variance @ slope, rel=1e-3)


def test_holm_by_hand() -> None:
    assert_allclose(adjust_holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.6, 0.9]) == [1.0, 1.0]
    assert adjust_holm([]) == []
    with pytest.raises(ValueError, match="p_values are"):
        adjust_holm([float("nan")])


def test_bad_designs_are_named(generator: np.random.Generator) -> None:
    left, right = [0, 10, 20, 30], [10, 20, 30, 40]
    with pytest.raises(ValueError, match="arm has the label '0' alone"):
        compare_arms(left, right, [0, 0, 0, 0], generator)
    with pytest.raises(ValueError, match=r"arm has shape \(2,\)"):
        compare_arms(left, right, [0, 1], generator)
    with pytest.raises(ValueError, match="seed 2 is not in every arm"):
        compare_arms(left, right, [0, 0, 1, 1], generator, seeds=[1, 2, 1, 3], paired=True)
    with pytest.raises(ValueError, match="paired is True with strata or without seeds"):
        compare_arms(left, right, [0, 0, 1, 1], generator, paired=True)
    with pytest.raises(ValueError, match="strata divide the units of one run"):
        compare_arms(left, right, [0, 0, 1, 1], generator, seeds=[1, 1, 1, 1], strata=[0, 1, 0, 1])
    with pytest.raises(ValueError, match="kind is logrank"):
        compare_arms(left, right, [0, 0, 1, 1], generator, kind="logrank")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="1 arms"):
        compare_hazards(left, right, [0, 0, 0, 0])
