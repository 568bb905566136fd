"""Coverage by K seeds: exact against all choices, limits against populations whose coverage is known."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from saltus import Curve, Curves, Key, Rule
from saltus.errors import SaltusError
from saltus.measure.coverage import estimate_coverage, gather_learned
from saltus.measure.groups import summarise_groups
from saltus.report.curves.survival import list_groups

LEARNED = arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 5)))


@given(LEARNED)
def test_shares_are_the_mean_over_all_choices(learned: NDArray[np.bool_]) -> None:
    seeds = len(learned)
    found = estimate_coverage(learned, range(1, seeds + 1), np.random.default_rng(0))
    for size, share in zip(found.sizes, found.shares, strict=True):
        choices = [learned[list(chosen)].any(axis=0).mean() for chosen in combinations(range(seeds), size)]
        assert share.value == pytest.approx(np.mean(choices))
        assert 0.0 <= share.lower <= (share.value or 0.0) <= share.upper <= 1.0
    assert found.best == pytest.approx(learned.any(axis=0).mean())


@pytest.mark.parametrize("seeds", [3, 8])
def test_limits_hold_the_population_s_coverage(seeds: int) -> None:
    """Units with probabilities of their own: K independent seeds cover 1 - (1 - p)^K of each."""
    generator = np.random.default_rng(1)
    probability = np.array([0.05, 0.2, 0.5, 0.9, 0.4, 0.1])
    truth = (1.0 - (1.0 - probability) ** 2).mean()
    held = 0
    for _ in range(200):
        (share,) = estimate_coverage(generator.random((seeds, 6)) < probability, [2], generator).shares
        held += share.lower <= truth <= share.upper
    assert held >= 187  # 95% of 200 is 190; two standard errors are 6


def test_three_seeds_that_have_all_do_not_promise_all() -> None:
    (share,) = estimate_coverage(np.ones((3, 4), np.bool_), [1], np.random.default_rng(0)).shares
    assert (share.value, share.upper) == (1.0, 1.0)
    assert share.lower < 0.5  # .025^(1/3) = .29 is the exact limit of a share of 3 in 3
    assert share.lower == pytest.approx(0.025 ** (1 / 3), abs=0.03)


def test_a_unit_that_was_lost_again_is_not_covered() -> None:
    steps = np.arange(0, 60, 10)
    values = {"kept": [0, 0, 1, 1, 1, 1], "lost": [0, 1, 1, 0, 0, 0], "never": [0, 0, 0, 0, 0, 0]}
    curves = tuple(Curve(Key("a", "0", unit), steps, np.array(each, float)) for unit, each in values.items())
    found = Curves(curves, "accuracy", Rule(above=0.5, hold=2)).emergences()
    assert gather_learned(found).tolist() == [[True, False, False]]


def test_a_seed_that_was_not_watched_neither_has_nor_lacks_a_unit() -> None:
    steps, nan = np.arange(0, 40, 10), np.nan
    values = {"0": [0, 0, 1, 1], "1": [0, 0, 0, 0], "2": [nan] * 4, "3": [0, nan, nan, nan]}
    curves = tuple(Curve(Key("a", seed, "x"), steps, np.array(each, float)) for seed, each in values.items())
    found = Curves(curves, "accuracy", Rule(above=0.5, hold=2)).emergences()
    assert gather_learned(found).tolist() == [[True], [False]]
    (summary,) = summarise_groups(found, {"a": 4}, 30, np.random.default_rng(0))
    assert (summary.emerged, summary.censored, summary.unmeasured, summary.paper_mean) == (1, 1, 2, 22.5)
    (group,) = list_groups(found)
    assert group.boot.seeds == 2
    assert gather_learned(replace(found, found=found.found[2:])).shape == (0, 1)


def test_what_cannot_be_pooled_is_one_sentence() -> None:
    steps = np.arange(3)
    some = [Curve(Key("a", seed, unit), steps, np.ones(3)) for seed, unit in (("0", "x"), ("0", "y"), ("1", "x"))]
    with pytest.raises(SaltusError, match="seed 1 of a has no curve of 'y', which others have"):
        gather_learned(Curves(tuple(some), "accuracy", Rule(above=0.5)).emergences())
    with pytest.raises(SaltusError, match="seeds: 4 was given; there are 1 to 2 seeds to pool"):
        estimate_coverage(np.ones((2, 2), np.bool_), [4], np.random.default_rng(0))
    with pytest.raises(SaltusError, match="0 seeds with 0 units"):
        estimate_coverage(np.ones((0, 0), np.bool_), [1], np.random.default_rng(0))
