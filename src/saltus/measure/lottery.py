"""Do many searchers behave as the soonest of as many independent ones? The lottery of attention heads, as a test.

Of n independent searchers of which each is without the unit at a step with probability S, all are without it with
probability S^n. So one searcher predicts every quantile of n: the share q of n searchers has emerged where the share
1 - (1 - q)^(1/n) of single ones has. What is measured later than that says that the searchers are not independent, or
that a time common to all of them remains; what is measured sooner, that they help each other.
"""

from dataclasses import dataclass

import numpy as np

from saltus.measure.bootstrap import SeedBootstrap, find_limits
from saltus.measure.intervals import Estimate, Floats


@dataclass(frozen=True)
class LotteryCheck:
    """One quantile of the steps of n searchers, as one searcher predicts it and as it was measured."""

    searchers: int
    """n"""
    share: float
    """q, the share of seeds that have emerged by the step, in (0, 1)."""
    predicted: Estimate
    """Steps."""
    measured: Estimate
    """Steps."""
    ratio: Estimate
    """Measured over predicted; 1 if the lottery holds."""
    effective: Estimate
    """As many independent searchers would have come as soon; n if the lottery holds."""

    @property
    def holds(self) -> bool:
        """Whether the interval of the ratio has 1 in it: the two cannot be told apart."""
        return self.ratio.lower <= 1.0 <= self.ratio.upper


def check_lottery(
    one: SeedBootstrap, many: SeedBootstrap, searchers: int, share: float = 0.5, level: float = 0.95
) -> LotteryCheck:
    """Compare the steps of `many` with those of the soonest of so many independent searchers, each as `one`.

    The two were bootstrapped from different seeds, with as many draws. Intervals are conservative: each limit takes the
    less kind end of the cells of both.

    Raises:
        ValueError: if there is no searcher, or the share is not in (0, 1).

    """
    if searchers < 1 or not 0.0 < share < 1.0:
        raise ValueError(
            f"searchers is {searchers} and share is {share}; allowed are at least 1 searcher and a share in (0, 1)"
        )
    single = find_single_share(searchers, share)
    predicted, measured = one.quantile(single, level), many.quantile(share, level)
    low, high = many.soonest.quantile(share)[0], many.latest.quantile(share)[1]
    ratio = Estimate(
        _divide(measured.value, predicted.value),
        float(find_limits(_divide_draws(low, one.latest.quantile(single)[1]), level)[0]),
        float(find_limits(_divide_draws(high, one.soonest.quantile(single)[0]), level)[1]),
        level,
    )
    return LotteryCheck(searchers, share, predicted, measured, ratio, _count_searchers(one, many, share, level))


def find_single_share(searchers: int, share: float) -> float:
    """The share of single searchers that have emerged where the share of so many together has.

    >>> round(find_single_share(8, 0.5), 4)
    0.083
    """
    return -float(np.expm1(np.log1p(-share) / searchers))


def _count_searchers(one: SeedBootstrap, many: SeedBootstrap, share: float, level: float) -> Estimate:
    """N such that S^n is 1 - share at the step by which the share of many has emerged."""
    step = many.estimate.place_quantile(share)
    value = None
    if np.isfinite(step):
        earliest, latest = one.estimate.survival_at(step)
        value = float(_solve_searchers(np.asarray((earliest + latest) / 2), share))
    late, soon = many.latest.quantile(share)[1], many.soonest.quantile(share)[0]
    least = (one.soonest.mass * (one.soonest.left >= late[:, None])).sum(axis=1)
    most = (one.latest.mass * (one.latest.right > soon[:, None])).sum(axis=1)
    lower, _ = find_limits(_solve_searchers(least, share), level)
    _, upper = find_limits(_solve_searchers(most, share), level)
    return Estimate(value, float(lower), float(upper), level)


def _solve_searchers(survival: Floats, share: float) -> Floats:
    """log(1 - share) / log S: 0 where S is 0, inf where S is 1."""
    with np.errstate(divide="ignore"):
        return -np.log1p(-share) / np.abs(np.log(np.clip(survival, 0.0, 1.0)))


def _divide(one: float | None, other: float | None) -> float | None:
    if one is None or other is None or not np.isfinite(other) or other <= 0.0:
        return None
    return one / other


def _divide_draws(one: Floats, other: Floats) -> Floats:
    """[draw] ratios: 0 where nothing bounds the divisor from above, inf where nothing bounds it from below."""
    some = (other > 0.0) & np.isfinite(other)
    return np.where(np.isinf(other), 0.0, np.divide(one, other, out=np.full_like(one, np.inf), where=some))
