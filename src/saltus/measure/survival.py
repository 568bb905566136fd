"""How many seeds are still without a capability after so many steps, when the budget ends before some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saltus.curves import Emergence


@dataclass(frozen=True)
class SurvivalCurve:
    """Share of seeds still without the unit, with a confidence band for each point on its own (not simultaneous).

    The first point is the origin, before anything has happened; every distinct time follows as a point of its own, so
    that time 0 appears twice if a seed's time is 0. Between two points the curve stays at the value of the left one.
    """

    times: NDArray[np.float64]
    """[point] times in the unit that was given (steps), increasing."""
    survival: NDArray[np.float64]
    """[point] Kaplan-Meier estimate of the share without the unit just after the time, from 1 downwards."""
    lower: NDArray[np.float64]
    """[point] lower end of the band."""
    upper: NDArray[np.float64]
    """[point] upper end of the band."""
    at_risk: NDArray[np.int64]
    """[point] seeds without the unit and still observed just before the time."""
    events: NDArray[np.int64]
    """[point] seeds whose unit emerged at the time."""
    censored: NDArray[np.int64]
    """[point] seeds last observed, without the unit, at the time."""
    level: float
    """Confidence level of the band, in (0, 1)."""

    @property
    def median(self) -> float | None:
        """First time with a survival of at most one half; None if the curve ends above it."""
        # 9/10 * 8/9 * ... * 5/6 must count as a half, whichever way its product is rounded
        reached = np.flatnonzero(self.survival <= 0.5 + 1e-9)
        return float(self.times[reached[0]]) if len(reached) else None


def times_of(emergences: Sequence[Emergence]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Right-censored times in steps and whether each was observed, both [seed], from intervals.

    An observed time is the right end of its interval, `by`: the evaluation grid rounds it up, by at most one distance
    between evaluations. A censored time is `after`, the last step known to be without the unit; such seeds are neither
    dropped nor given an invented time. One that was never evaluated without the unit, nor confirmed to have it, is
    censored at 0, where it says nothing.
    """
    times = [max(emergence.after, 0) if emergence.by is None else emergence.by for emergence in emergences]
    observed = [not emergence.censored for emergence in emergences]
    return np.array(times, dtype=np.float64), np.array(observed, dtype=np.bool_)


def estimate_survival(times: ArrayLike, observed: ArrayLike, level: float = 0.95) -> SurvivalCurve:
    """Kaplan-Meier estimate with Greenwood's variance and a log-log confidence band.

    `times` [seed] is when a seed's unit emerged where `observed` [seed] is true, and when it was last seen without
    where it is false. A seed that is censored at a time is still at risk for the events of that time. The band is
    exp(-exp(log(-log S) +- z se)) (Kalbfleisch and Prentice, The Statistical Analysis of Failure Time Data, 2002,
    section 1.4), as in R's survfit(conf.type="log-log"). The formula is undefined where S is 1 or 0, and R and Stata
    leave the band missing there. Here it is [1, 1] before the first event; and where S is 0 it reaches from 0 to the
    last upper end before, which holds at that earlier time and so, as survival cannot rise, at the later one too.
    """
    times, observed = _check_sample(times, observed)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; allowed is a number between 0 and 1, such as 0.95")
    distinct, point = np.unique(times, return_inverse=True)
    events = np.bincount(point[observed], minlength=len(distinct))
    leaving = np.bincount(point, minlength=len(distinct))
    at_risk = len(times) - np.cumsum(leaving) + leaving
    survival = np.cumprod((at_risk - events) / at_risk, dtype=np.float64)
    lower, upper = _find_band(survival, at_risk, events, level)
    return SurvivalCurve(
        times=np.concatenate([[0.0], distinct]),
        survival=np.concatenate([[1.0], survival]),
        lower=np.concatenate([[1.0], lower]),
        upper=np.concatenate([[1.0], upper]),
        at_risk=np.concatenate([[len(times)], at_risk]),
        events=np.concatenate([[0], events]),
        censored=np.concatenate([[0], leaving - events]),
        level=level,
    )


def _find_band(
    survival: NDArray[np.float64], at_risk: NDArray[np.int64], events: NDArray[np.int64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper end at each distinct time; see `estimate_survival` for where S is 1 or 0."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    lower = np.where(survival > 0.0, 1.0, 0.0)
    upper = np.ones_like(survival)
    inside = (survival > 0.0) & (survival < 1.0)
    left = np.where(at_risk > events, at_risk - events, 1)  # S is 0 where nobody is left, and never used there
    spread = z * np.sqrt(np.cumsum(events / (at_risk * left)))[inside] / -np.log(survival[inside])
    lower[inside] = survival[inside] ** np.exp(spread)
    upper[inside] = survival[inside] ** np.exp(-spread)
    ended = survival == 0.0
    if ended.any() and not ended[0]:
        upper[ended] = upper[~ended][-1]
    return lower, upper


def _check_sample(times: ArrayLike, observed: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Both as arrays [seed], or a ValueError that says what was given and what is allowed."""
    checked, seen = np.asarray(times, dtype=np.float64), np.asarray(observed)
    if checked.ndim != 1 or not len(checked):
        raise ValueError(f"times has shape {checked.shape}; allowed is one axis with at least one seed")
    if seen.shape != checked.shape:
        raise ValueError(f"observed has shape {seen.shape}; it needs one value for each of the {len(checked)} times")
    if seen.dtype != np.bool_:
        raise ValueError(f"observed has type {seen.dtype}; allowed are booleans, true if it emerged")
    wrong = checked[~(np.isfinite(checked) & (checked >= 0.0))]
    if len(wrong):
        raise ValueError(f"times contains {wrong[0]}; allowed are finite numbers of at least 0")
    return checked, seen
