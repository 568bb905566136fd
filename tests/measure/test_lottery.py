"""The lottery of heads: steps that are the minimum of independent ones pass, steps that are not fail."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from saltus.measure.bootstrap import SeedBootstrap, bootstrap_seeds
from saltus.measure.intervals import Floats
from saltus.measure.lottery import check_lottery, find_single_share

GRID = 10.0


def bootstrap(steps: NDArray[np.float64], budget: float, generator: np.random.Generator) -> SeedBootstrap:
    left = np.floor(steps / GRID) * GRID
    within = steps < budget
    return bootstrap_seeds(np.where(within, left, budget), np.where(within, left + GRID, np.inf), generator, draws=400)


def draw_minima(searchers: int, seeds: int, generator: np.random.Generator) -> Floats:
    return np.exp(6.0 + 0.6 * generator.standard_normal((seeds, searchers))).min(axis=1)


def test_single_share_is_the_closed_form() -> None:
    # 1 - (1 - p)^n = q, at the p that is given back
    for searchers in (1, 2, 8, 64):
        for share in (0.1, 0.5, 0.9):
            assert 1.0 - (1.0 - find_single_share(searchers, share)) ** searchers == pytest.approx(share)


def test_independent_searchers_hold_and_shared_luck_does_not() -> None:
    generator = np.random.default_rng(3)
    held = broken = 0
    for _ in range(40):
        one = bootstrap(draw_minima(1, 48, generator), 5_000.0, generator)
        eight = bootstrap(draw_minima(8, 48, generator), 5_000.0, generator)
        held += check_lottery(one, eight, 8).holds
        # All searchers of a seed share their luck: they are as late as one.
        alike = bootstrap(draw_minima(1, 48, generator), 5_000.0, generator)
        broken += not check_lottery(one, alike, 8).holds
    assert held >= 37  # 95% of 40 is 38
    assert broken >= 38


def test_effective_searchers_are_recovered() -> None:
    generator = np.random.default_rng(5)
    one = bootstrap(draw_minima(1, 2_000, generator), 5_000.0, generator)
    found = check_lottery(one, bootstrap(draw_minima(4, 2_000, generator), 5_000.0, generator), 8)
    assert found.effective.value == pytest.approx(4.0, rel=0.15)
    assert found.effective.lower < 4.0 < found.effective.upper < 8.0
    assert not found.holds  # eight were promised
    assert (found.ratio.value or 0.0) > 1.0


def test_censored_singles_set_no_limit() -> None:
    generator = np.random.default_rng(7)
    never = bootstrap(np.full(8, 9_999.0), 1_000.0, generator)
    found = check_lottery(never, bootstrap(draw_minima(4, 8, generator), 1_000.0, generator), 4)
    assert found.predicted.value == np.inf
    assert found.ratio.value is None
    assert found.ratio.lower == 0.0
    assert found.effective.upper == np.inf


@given(st.integers(1, 64), st.floats(0.05, 0.95))
def test_one_arm_with_itself_is_one_searcher(searchers: int, share: float) -> None:
    arm = bootstrap(np.linspace(100.0, 900.0, 40), 5_000.0, np.random.default_rng(1))
    found = check_lottery(arm, arm, searchers, share)
    assert found.effective.lower <= 1.0 <= found.effective.upper
    if searchers == 1:
        assert found.ratio.value == 1.0


@pytest.mark.parametrize(("searchers", "share"), [(0, 0.5), (2, 0.0), (2, 1.0)])
def test_senseless_questions_are_refused(searchers: int, share: float) -> None:
    arm = bootstrap(np.linspace(100.0, 900.0, 4), 5_000.0, np.random.default_rng(1))
    with pytest.raises(ValueError, match="allowed are"):
        check_lottery(arm, arm, searchers, share)
