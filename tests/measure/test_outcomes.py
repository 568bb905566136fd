"""What seeds came to: units kept, exact intervals for shares."""

import pytest

from saltus.curves import Emergence, Emergences, Key, Rule
from saltus.measure.outcomes import count_learned, estimate_share, median_step


@pytest.mark.parametrize(
    ("count", "of", "lower", "upper"),
    [
        # Clopper and Pearson, Biometrika 26 (1934): 0 and n of n have closed forms, 1 - (a/2)^(1/n).
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (3, 3, 0.025 ** (1 / 3), 1.0),
        # 8 of 20: 0.1912 to 0.6395 in the usual tables.
        (8, 20, 0.1912, 0.6395),
    ],
)
def test_shares_have_exact_intervals(count: int, of: int, lower: float, upper: float) -> None:
    share = estimate_share(count, of)
    assert (share.lower, share.upper) == pytest.approx((lower, upper), abs=1e-4)


def test_units_that_are_lost_again_are_not_learned() -> None:
    found = [
        Emergence(0, 10, None, (), Key("a", "0", "x")),
        Emergence(0, 10, 30, (), Key("a", "0", "y")),
        Emergence(50, None, None, (), Key("a", "1", "x")),
        Emergence(20, 30, None, (), Key("a", "1", "y")),
        Emergence(20, 40, None, (), Key("b", "0", "x")),
    ]
    assert list(count_learned(Emergences(tuple(found), Rule(above=0.9)))) == [1, 1, 1]


def test_the_median_step_counts_those_that_never_came() -> None:
    came, never = Emergence(0, 10), Emergence(50, None)
    assert median_step([came, came, never]) == 10.0
    assert median_step([came, never, never]) is None
