"""Likelihood of interval-censored log steps in a location-scale family, and its maximum under a linear constraint.

log step = design @ coefficients + spread * noise (an accelerated failure time model). In the parameters
theta = (coefficients / spread, 1 / spread) the log-likelihood of all three families is concave (Burridge, JRSS B 43,
1981), so what Newton's method finds is the maximum, if there is one.

Intervals (left, right] [unit]; see `measure.intervals` for the ends. `left == right` counts with its density.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import expit, log_ndtr, ndtri

from saltus.errors import SaltusError
from saltus.measure.intervals import Floats

FamilyName = Literal["log-normal", "weibull", "log-logistic"]


@dataclass(frozen=True)
class Family:
    """The distribution of the noise, standard: normal, smallest extreme value, or logistic."""

    log_survival: Callable[[Floats], Floats]
    log_density: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    """First derivative of the log density."""
    curve: Callable[[Floats], Floats]
    """Second derivative of the log density."""
    quantile: Callable[[float], float]


FAMILIES: dict[FamilyName, Family] = {
    "log-normal": Family(
        log_survival=lambda z: log_ndtr(-z),
        log_density=lambda z: -(z**2) / 2 - np.log(2 * np.pi) / 2,
        slope=lambda z: -z,
        curve=lambda z: -np.ones_like(z),
        quantile=lambda share: float(ndtri(share)),
    ),
    "weibull": Family(
        log_survival=lambda z: -np.exp(z),
        log_density=lambda z: z - np.exp(z),
        slope=lambda z: 1.0 - np.exp(z),
        curve=lambda z: -np.exp(z),
        quantile=lambda share: float(np.log(-np.log1p(-share))),
    ),
    "log-logistic": Family(
        log_survival=lambda z: -np.logaddexp(0.0, z),
        log_density=lambda z: z - 2.0 * np.logaddexp(0.0, z),
        slope=lambda z: 1.0 - 2.0 * expit(z),
        curve=lambda z: -2.0 * expit(z) * expit(-z),
        quantile=lambda share: float(np.log(share / (1.0 - share))),
    ),
}


@dataclass(frozen=True)
class Likelihood:
    """The data and the family."""

    family: Family
    left: Floats
    """[unit] logarithm of the left end; -inf at step 0 and below."""
    right: Floats
    """[unit] logarithm of the right end; inf where censored."""
    design: Floats
    """[unit, coefficient]"""
    odds: float = 0.0
    """Of never emerging, in a mixture with cured seeds: the share that never does over the share that does."""

    def evaluate(self, theta: Floats) -> tuple[float, Floats, Floats]:
        """Log-likelihood in nats, its gradient [parameter] and Hessian [parameter, parameter]; -inf out of bounds."""
        size = len(theta)
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            value, weights = self._evaluate_units(theta)
        if not np.isfinite(value):
            return -np.inf, np.zeros(size), np.zeros((size, size))
        # d z / d theta at both ends; where an end is infinite its weights are 0
        lower, upper = (
            np.column_stack([-self.design, np.where(np.isfinite(end), end, 0.0)]) for end in (self.left, self.right)
        )
        slope_low, slope_high, low, high, both = weights
        gradient = slope_low @ lower + slope_high @ upper
        mixed = (lower * both[:, None]).T @ upper
        hessian = (lower * low[:, None]).T @ lower + (upper * high[:, None]).T @ upper + mixed + mixed.T
        exact = int((self.left == self.right).sum())
        gradient[-1] += exact / theta[-1]
        hessian[-1, -1] -= exact / theta[-1] ** 2
        return value, gradient, hessian

    def _evaluate_units(self, theta: Floats) -> tuple[float, NDArray[np.float64]]:
        """Log-likelihood, and by unit first and second derivatives in z at the left, right and both ends."""
        if theta[-1] <= 0.0:
            return -np.inf, np.zeros((5, 0))
        family, centre = self.family, self.design @ theta[:-1]
        low, high = theta[-1] * self.left - centre, theta[-1] * self.right - centre
        exact, censored = self.left == self.right, np.isinf(self.right)
        before = np.where(np.isfinite(low), family.log_survival(low), 0.0)
        after = np.where(censored, -np.inf, family.log_survival(high))
        chance = before + np.log(-np.expm1(after - before))
        chance = np.where(censored, np.logaddexp(before, np.log(self.odds)) if self.odds else before, chance)
        chance = np.where(exact, 0.0, chance)
        # density over probability, at each end that is finite
        at_low = np.where(np.isfinite(low) & ~exact, np.exp(family.log_density(low) - chance), 0.0)
        at_high = np.where(censored | exact, 0.0, np.exp(family.log_density(high) - chance))
        bend_low = np.where(at_low > 0.0, family.slope(low) * at_low, 0.0)
        bend_high = np.where(at_high > 0.0, family.slope(high) * at_high, 0.0)
        weights = np.array([-at_low, at_high, -bend_low - at_low**2, bend_high - at_high**2, at_low * at_high])
        if exact.any():
            chance[exact] = family.log_density(high[exact]) + np.log(theta[-1])
            weights[1, exact] = family.slope(high[exact])
            weights[3, exact] = family.curve(high[exact])
        return float(chance.sum() - len(chance) * np.log1p(self.odds)), weights

    def maximise(self, start: Floats, basis: Floats | None = None) -> tuple[Floats, float]:
        """Parameters with the greatest likelihood among start + basis @ anything, and that log-likelihood."""
        basis = np.eye(len(start)) if basis is None else basis
        theta = start
        value, gradient, hessian = self.evaluate(theta)
        for _ in range(500):
            slope, curve = basis.T @ gradient, basis.T @ hessian @ basis
            sizes, axes = np.linalg.eigh(curve)
            # away from a maximum a mixture need not be concave: climb along such axes as well
            move = axes @ ((axes.T @ slope) / np.maximum(np.abs(sizes), 1e-9 * np.abs(sizes).max() + 1e-300))
            gain = float(slope @ move)
            if gain < 1e-10:
                break
            step = 1.0
            while True:
                tried = theta + step * (basis @ move)
                new = self.evaluate(tried)
                if new[0] >= value + 1e-4 * step * gain or step < 1e-12:
                    break
                step /= 2
            if step < 1e-12:
                break
            theta, (value, gradient, hessian) = tried, new
        return theta, value


def build_likelihood(family: FamilyName, left: Floats, right: Floats, design: Floats) -> Likelihood:
    """The likelihood of checked intervals.

    Raises:
        SaltusError: if a unit was there at step 0, which has no logarithm.

    """
    if family not in get_args(FamilyName):
        raise ValueError(f"family is {family}; allowed are {', '.join(get_args(FamilyName))}")
    if (right == 0.0).any():
        raise SaltusError(
            f"{int((right == 0.0).sum())} units were there at step 0, of which a distribution of log steps says "
            "nothing; take a rule that asks for more, or curves without them, and report their share beside it"
        )
    with np.errstate(divide="ignore"):
        return Likelihood(FAMILIES[family], np.log(np.maximum(left, 0.0)), np.log(right), design)


def find_start(likelihood: Likelihood) -> Floats:
    """Parameters near enough for Newton's method: least squares on the middles of the intervals, and a wide spread."""
    low, high = likelihood.left, likelihood.right
    low = np.where(np.isinf(low), np.where(np.isinf(high), 0.0, high - 1.0), low)
    middle = np.where(np.isinf(high), low + 0.5, (low + high) / 2)
    coefficients = np.linalg.lstsq(likelihood.design, middle, rcond=None)[0]
    spread = max(2.0 * float(np.abs(middle - likelihood.design @ coefficients).max()), 0.5)
    return np.append(coefficients, 1.0) / spread


def check_maximum(likelihood: Likelihood) -> None:
    """Refuse data without a maximum: some way to go on and on, along which no unit becomes less likely.

    Along a direction of theta every interval's right end must not fall and its left end not rise; a linear program
    finds such a direction, if there is one.

    Raises:
        SaltusError: if the spread or a coefficient has no finite estimate.

    """
    low, high, design = likelihood.left, likelihood.right, likelihood.design
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise SaltusError(
            "the covariates depend on each other, or are the same for all units, so that their effects cannot be told "
            "apart; leave one of them out"
        )
    ends = [np.column_stack([-design[np.isfinite(end)], end[np.isfinite(end)]]) for end in (low, high)]
    table = np.vstack([ends[0], -ends[1]])  # table @ direction <= 0
    size = design.shape[1] + 1
    bounds = [(-1.0, 1.0)] * (size - 1) + [(0.0, 1.0)]
    goal = table.sum(axis=0)
    goal[-1] -= 1.0
    found = linprog(goal, A_ub=table, b_ub=np.zeros(len(table)), bounds=bounds)
    if found.fun > -1e-9:
        return
    if found.x[-1] > 1e-9:
        raise SaltusError(
            "one line runs through the intervals of all units, so that the spread of their steps cannot be told; more "
            "seeds, or evaluations nearer to each other, would tell"
        )
    raise SaltusError(
        "too few units emerged, so that the likelihood has no maximum: a group without any emergence, for example, may "
        "be later by any factor; leave such a group out, or train it for longer"
    )
