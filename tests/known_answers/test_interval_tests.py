"""Tests of arms against the numbers of Fay and Shaw (2010), section 3, for the cosmesis data and exact fractions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from tests.known_answers.cosmesis import pool

from saltus.measure.interval_tests import compare_arms
from saltus.measure.scores import ScoreKind, compare_hazards, score_units
from saltus.measure.turnbull import estimate_turnbull

SMALL = (2, 5, 1, 1, 9, 8, 10), (3, 6, 7, 7, 12, 10, 13), (0, 0, 1, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("kind", "excess", "z", "p"),
    [
        ("sun", 9.141846, -2.6684, 0.007622),
        ("finkelstein", 9.944182, -2.6839, 0.007277),
        ("wilcoxon", 5.656724, -2.1672, 0.03022),
    ],
)
def test_permutation_tests_of_the_cosmesis_data(kind: ScoreKind, excess: float, z: float, p: float) -> None:
    left, right, arm = pool()
    found = compare_arms(left, right, arm, np.random.default_rng(0), kind=kind)
    assert found.excess == (pytest.approx(-excess, abs=5e-7), pytest.approx(excess, abs=5e-7))
    assert found.z == pytest.approx(z, abs=5e-5)
    assert found.p_approximate == pytest.approx(p, abs=5e-6)
    # by 9,999 permutations, whose number below p is binomial
    assert abs(stats.norm.isf(0.001)) * np.sqrt(p / 9_999) > abs(found.p_value - p)
    assert not found.exact


def test_score_test_of_the_cosmesis_data() -> None:
    found = compare_hazards(*pool())
    assert found.statistic == pytest.approx(7.8749, abs=5e-5)
    assert found.p_value == pytest.approx(0.005012, abs=5e-7)
    assert found.degrees == 1


def test_multiple_imputation_of_the_cosmesis_data() -> None:
    # Huang, Lee and Yu, Statistics in Medicine 27 (2008): log-rank tests of steps drawn from Turnbull's masses. The
    # published number is one of such simulations with 999 draws; so it must lie among others.
    left, right, arm = pool()
    masses = estimate_turnbull(left, right)
    inside = (left[:, None] <= masses.left) & (masses.right <= right[:, None])
    chances = np.cumsum(inside * masses.mass, axis=1)
    generator = np.random.default_rng(0)
    statistics, excesses = [], []
    for _ in range(20):
        drawn = (generator.random((999, len(left), 1)) * chances[:, -1:] > chances).sum(axis=2)  # [draw, patient] cell
        at = (drawn[..., None] == np.arange(len(masses.mass))).astype(float)
        events, events_b = at.sum(1), (at * arm[:, None]).sum(1)
        risk, risk_b = (np.maximum(np.cumsum(n[:, ::-1], axis=1)[:, ::-1], 1e-9) for n in (events, events_b))
        share = risk_b / risk
        excess = (events_b - events * share).sum(1)
        variance = (events * share * (1 - share) * (risk - events) / np.maximum(risk - 1, 1)).sum(1)
        statistics.append(excess.mean() ** 2 / (variance.mean() - excess.var(ddof=1)))
        excesses.append(excess.mean())
    assert np.mean(statistics) == pytest.approx(7.1047, abs=float(2.5 * np.std(statistics)))
    assert stats.chi2.sf(7.1047, 1) == pytest.approx(0.007688, abs=5e-7)
    # in the mean their excess is that of Sun's scores
    assert np.mean(excesses) == pytest.approx(9.141846, abs=float(np.std(excesses)))


def test_exact_fractions_of_suns_scores() -> None:
    left, right, _ = SMALL
    expected = [5 / 7, 11 / 35, 18 / 35, 18 / 35, -24 / 35, -13 / 70, -83 / 70]
    assert_allclose(score_units(left, right, "sun"), expected, atol=1e-9)


def test_thirty_five_permutations() -> None:
    found = compare_arms(*SMALL, np.random.default_rng(0), kind="sun")
    assert (found.permutations, found.exact) == (35, True)
    assert found.p_value * 35 == pytest.approx(round(found.p_value * 35))
