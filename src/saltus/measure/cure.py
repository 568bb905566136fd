"""Whether a seed ever solves, apart from when: a mixture of seeds that never do and of others with a log step.

P(still without at t) = 1 - share + share * S(t), the cure model of Boag (1949) with a parametric S. Where the budget
ends while seeds are still solving, the share is hardly told from a long tail, and its interval says so.

Intervals (left, right] [unit]; see `measure.intervals` for the ends. Units must be independent seeds.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import minimize_scalar

from saltus.errors import SaltusError
from saltus.measure.intervals import Estimate, Floats, bound_share, check_intervals, check_level
from saltus.measure.likelihood import FamilyName, Likelihood, build_likelihood, check_maximum, find_start
from saltus.measure.parametric import calibrate_location, find_root, search_limits


@dataclass(frozen=True)
class CureFit:
    """A share that ever solves, and when, given that it does."""

    family: FamilyName
    share: Estimate
    """Probability of ever solving.

    The lower limit is that of solving within the budget (Clopper and Pearson), which assumes no family. The upper one
    is of the profile likelihood, or Clopper and Pearson's if that is larger.
    """
    median: Estimate
    """Median step of those who ever solve; its interval is of the profile likelihood."""
    spread: float
    """Scale of log steps of those who ever solve."""
    log_likelihood: float
    """In nats."""
    p_all_solve: float
    """P-value of a likelihood ratio test that every seed solves in the end, for many seeds.

    From chi-square with one degree of freedom, twice what is exact for very many (Self and Liang 1987), as small
    samples reject too often otherwise.
    """
    units: int
    events: int


def fit_cure(left: ArrayLike, right: ArrayLike, family: FamilyName = "log-normal", level: float = 0.95) -> CureFit:
    """Maximum-likelihood fit of the mixture to intervals (left, right] [unit].

    Raises:
        SaltusError: if no unit emerged, or all in intervals that have a step in common.

    """
    check_level(level)
    left, right = check_intervals(left, right)
    events = int(np.isfinite(right).sum())
    if not events:
        raise SaltusError(
            f"none of {len(left)} seeds emerged, so that neither whether nor when the others would can be told; "
            "train for longer, or report how large the share can be"
        )
    likelihood = build_likelihood(family, left, right, np.ones((len(left), 1)))
    solved = np.isfinite(right)
    among = replace(
        likelihood,
        left=likelihood.left[solved],
        right=likelihood.right[solved],
        design=likelihood.design[solved],
    )
    check_maximum(among)
    start, _ = among.maximise(find_start(among))
    share, theta, value = _maximise(likelihood, start, None)
    within = bound_share(events, len(left), level)
    threshold = calibrate_location(events, events - 1, level) if events > 1 else np.inf

    def lose(at: float) -> float:
        return 2.0 * (value - _fit(likelihood, at, theta)[1]) - threshold

    upper = 1.0 if lose(1.0) <= 0.0 else find_root(lose, share, 1.0)
    centre = float((theta[0] + likelihood.family.quantile(0.5)) / theta[1])
    limits = (-np.inf, np.inf)
    if events > 1:
        limits = search_limits(
            lambda at: 2.0 * (value - _maximise(likelihood, theta, at)[2]) - threshold,
            centre,
            float(1.0 / theta[1] / np.sqrt(events)),
        )
    ratio = max(2.0 * (value - _fit(likelihood, 1.0, theta)[1]), 0.0)
    return CureFit(
        family=family,
        share=Estimate(share, within.lower, max(upper, within.upper), level),
        median=Estimate(float(np.exp(centre)), float(np.exp(limits[0])), float(np.exp(limits[1])), level),
        spread=float(1.0 / theta[1]),
        log_likelihood=value,
        p_all_solve=float(stats.chi2.sf(ratio, 1)),
        units=len(left),
        events=events,
    )


def _maximise(likelihood: Likelihood, start: Floats, median: float | None) -> tuple[float, Floats, float]:
    """Share, parameters and log-likelihood at the maximum; `median` fixes the logarithm of the median step."""
    events = int(np.isfinite(likelihood.right).sum())
    least = events / len(likelihood.right)

    def lose(share: float) -> float:
        return -_fit(likelihood, share, start, median)[1]

    best: Any = minimize_scalar(lose, bounds=(0.5 * least, 1.0), method="bounded", options={"xatol": 1e-6})
    fits = [
        (share, *_fit(likelihood, share, start, median)) for share in (float(best.x), 1.0)
    ]  # it never tries the end
    return max(fits, key=lambda fit: fit[2])


def _fit(likelihood: Likelihood, share: float, start: Floats, median: float | None = None) -> tuple[Floats, float]:
    """The family's parameters at a given share, and the log-likelihood."""
    mixture = replace(likelihood, odds=(1.0 - share) / share)
    if median is None:
        return mixture.maximise(start)
    noise = likelihood.family.quantile(0.5)  # theta[1] * median - theta[0] is the noise at the median
    inverse = start[1] / (1.0 + abs(median * start[1] - start[0] - noise))  # of a spread that reaches as far
    return mixture.maximise(np.array([median * inverse - noise, inverse]), np.array([[median], [1.0]]))
