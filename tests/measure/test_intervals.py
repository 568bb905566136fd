"""Shares with exact intervals, labels of seeds."""

import pytest
from scipy import stats

from saltus.measure.intervals import bound_share, check_level, check_seeds


@pytest.mark.parametrize(("count", "of"), [(0, 10), (1, 10), (7, 10), (10, 10), (1, 1)])
def test_share_agrees_with_scipy(count: int, of: int) -> None:
    found = bound_share(count, of, 0.9)
    interval = stats.binomtest(count, of).proportion_ci(0.9, method="exact")
    assert found.value == count / of
    assert (found.lower, found.upper) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_no_seeds_tell_nothing() -> None:
    found = bound_share(0, 0)
    assert (found.value, found.lower, found.upper) == (None, 0.0, 1.0)


def test_seeds_are_numbered() -> None:
    assert check_seeds(["b", "a", "b"], 3).tolist() == [1, 0, 1]
    assert check_seeds(None, 3).tolist() == [0, 1, 2]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="count is 3 of 2"):
        bound_share(3, 2)
    with pytest.raises(ValueError, match="level is 95"):
        check_level(95)
    with pytest.raises(ValueError, match="each of the 3 units"):
        check_seeds([1, 2], 3)
