"""Parametric fits of interval-censored steps: one line through sizes, seeds and censoring, with honest small-n limits.

log step = coefficients @ (1, covariates) + spread * noise, natural logarithms throughout. With log N as a covariate its
coefficient is the slope of "log steps = a - b log N". Units must be independent: one unit of each seed, never the rows
of one run together.

Limits come from the profile likelihood, compared not with chi-square but with what makes them exact for normal noise
without censoring (Student's t; chi-square for the spread), with as many degrees of freedom as units that emerged.

Intervals (left, right] [unit]; see `measure.intervals` for the ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.linalg import null_space
from scipy.optimize import brentq

from saltus.measure.intervals import Estimate, Floats, check_intervals, check_level
from saltus.measure.likelihood import FAMILIES, FamilyName, Likelihood, build_likelihood, check_maximum, find_start

_FARTHEST = 40.0
"""No limit is looked for farther from the estimate, in logarithms: beyond it is 0 or inf."""


@dataclass(frozen=True)
class StepFit:
    """A fit of log steps on covariates."""

    family: FamilyName
    names: tuple[str, ...]
    """Of the coefficients: "intercept", then the covariates."""
    theta: Floats
    """[parameter] coefficients over spread, and one over spread."""
    log_likelihood: float
    """In nats."""
    units: int
    events: int
    """Units that emerged within the budget."""
    likelihood: Likelihood

    @cached_property
    def coefficients(self) -> dict[str, float]:
        """By name, in natural logarithms of steps for each unit of the covariate."""
        return dict(zip(self.names, (self.theta[:-1] / self.theta[-1]).tolist(), strict=True))

    @cached_property
    def spread(self) -> float:
        """Scale of the noise: of "log-normal" the standard deviation of log steps, of "weibull" one over its shape."""
        return float(1.0 / self.theta[-1])

    def bound_coefficient(self, name: str, level: float = 0.95) -> Estimate:
        """A coefficient with its interval; from -inf to inf where there are not more events than coefficients."""
        if name not in self.names:
            raise ValueError(f"name is {name!r}; allowed are {', '.join(self.names)}")
        direction = np.zeros(len(self.theta))
        direction[self.names.index(name)] = 1.0
        return self._bound(direction, 0.0, level)

    def bound_quantile(self, share: float = 0.5, covariates: ArrayLike = (), level: float = 0.95) -> Estimate:
        """The step by which `share` of the seeds with these covariates [covariate] have emerged."""
        if not 0.0 < share < 1.0:
            raise ValueError(f"share is {share}; allowed is a number between 0 and 1, such as 0.5 for the median")
        values = np.asarray(covariates, dtype=np.float64)
        if values.shape != (len(self.names) - 1,) or not np.isfinite(values).all():
            raise ValueError(f"covariates are {values}; allowed is a finite number for each of {self.names[1:]}")
        found = self._bound(np.array([1.0, *values, 0.0]), FAMILIES[self.family].quantile(share), level)
        assert found.value is not None
        value, lower, upper = (float(np.exp(limit)) for limit in (found.value, found.lower, found.upper))
        return Estimate(value, lower, upper, level)

    def bound_spread(self, level: float = 0.95) -> Estimate:
        """The spread with its interval."""
        check_level(level)
        degrees = self.events - len(self.names)
        if degrees < 1:
            return Estimate(self.spread, 0.0, np.inf, level)

        def profile(logarithm: float) -> float:
            start = np.append(self.theta[:-1] * np.exp(-logarithm) / self.theta[-1], np.exp(-logarithm))
            return self.likelihood.maximise(start, np.eye(len(start))[:, :-1])[1]

        limits = self._search(profile, log(self.spread), _calibrate_spread(self.events, degrees, level))
        return Estimate(self.spread, float(np.exp(limits[0])), float(np.exp(limits[1])), level)

    def _bound(self, direction: Floats, offset: float, level: float) -> Estimate:
        """`direction` @ coefficients + `offset` * spread, with limits; direction is [parameter], its last entry 0."""
        check_level(level)
        value = float((direction @ self.theta + offset) / self.theta[-1])
        degrees = self.events - len(self.names)
        if degrees < 1:
            return Estimate(value, -np.inf, np.inf, level)

        def profile(wanted: float) -> float:
            # linear in theta: direction @ theta + offset = wanted * theta[-1]
            row = direction - wanted * np.eye(len(direction))[-1]
            near = self.theta / (1.0 + abs(wanted - value) / self.spread)  # a spread that reaches as far
            start = near - direction * (row @ near + offset) / (direction @ direction)
            return self.likelihood.maximise(start, null_space(row[None]))[1]

        return Estimate(value, *self._search(profile, value, calibrate_location(self.events, degrees, level)), level)

    def _search(self, profile: Callable[[float], float], centre: float, threshold: float) -> tuple[float, float]:
        step = self.spread / np.sqrt(self.events)
        return search_limits(lambda at: 2.0 * (self.log_likelihood - profile(at)) - threshold, centre, step)


def fit_steps(
    left: ArrayLike,
    right: ArrayLike,
    covariates: ArrayLike | None = None,
    names: Sequence[str] = (),
    family: FamilyName = "log-normal",
) -> StepFit:
    """Maximum-likelihood fit of intervals (left, right] [unit] on `covariates` [unit, covariate] with `names`.

    Raises:
        ValueError: if shapes do not agree, or a covariate is not finite.
        SaltusError: if the data have no maximum: nothing emerged, all in one interval, a group without emergence.

    """
    left, right = check_intervals(left, right)
    table = np.zeros((len(left), 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    if table.shape != (len(left), len(names)) or not np.isfinite(table).all():
        raise ValueError(
            f"covariates have shape {table.shape}; allowed is a finite number for each of the {len(left)} units and "
            f"each of the {len(names)} names"
        )
    design = np.column_stack([np.ones(len(left)), table])
    likelihood = build_likelihood(family, left, right, design)
    check_maximum(likelihood)
    theta, value = likelihood.maximise(find_start(likelihood))
    return StepFit(family, ("intercept", *names), theta, value, len(left), int(np.isfinite(right).sum()), likelihood)


def calibrate_location(events: int, degrees: int, level: float) -> float:
    """The threshold of the likelihood ratio at which a location's interval is Student's for normal noise."""
    quantile = float(stats.t.ppf(0.5 + level / 2, degrees))
    return float(events * np.log1p(quantile**2 / degrees))


def search_limits(excess: Callable[[float], float], centre: float, step: float) -> tuple[float, float]:
    """Where `excess`, below 0 at the centre, reaches 0 on both sides, in logarithms; -inf and inf if too far away."""
    limits: list[float] = []
    for sign in (-1.0, 1.0):
        inner, outer = 0.0, step
        while outer < _FARTHEST and excess(centre + sign * outer) < 0.0:
            inner, outer = outer, 2.0 * outer
        near = outer < _FARTHEST
        limits.append(find_root(excess, centre + sign * inner, centre + sign * outer) if near else sign * np.inf)
    return limits[0], limits[1]


def find_root(function: Callable[[float], float], one: float, other: float) -> float:
    """Where a function that has opposite signs at `one` and `other` is 0."""
    root: Any = brentq(function, one, other, xtol=1e-9)
    return float(root)


def _calibrate_spread(events: int, degrees: int, level: float) -> float:
    """The threshold of the likelihood ratio at which the spread's interval holds its level for normal noise.

    With sums of squares over variances u, which is chi-square, the ratio is u - n log(u / n) - n.
    """

    def ends(threshold: float) -> list[float]:
        def excess(log_u: float) -> float:
            return float(np.exp(log_u)) - events * (log_u - log(events)) - events - threshold

        far = threshold / events + 3.0
        return [float(np.exp(find_root(excess, log(events), log(events) + sign * far))) for sign in (-1.0, 1.0)]

    def miss(threshold: float) -> float:
        low, high = ends(threshold)
        return float(stats.chi2.cdf(high, degrees) - stats.chi2.cdf(low, degrees)) - level

    return find_root(miss, 1e-6, 1e3)
