"""What is believed of seeds to come, from a pilot or a guess, and simulated seeds under a grid and a budget.

A seed ever solves with a probability, the share; the log step of one that does is normal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from saltus.measure.cure import fit_cure
from saltus.measure.intervals import Floats, check_intervals
from saltus.measure.parametric import fit_steps

WIDEST = 5.0
"""No spread beyond this is believed, whatever two seeds say: it puts a factor of 150 between ordinary seeds."""

LONGEST = 1e15
"""Steps beyond which nothing is planned, so that what is multiplied and rounded stays a number."""

_ANGLES = 1_000
"""Shares among which one is drawn; they lie less than .002 apart, and a hundred seeds place a share within .1."""


@dataclass(frozen=True)
class Outlook:
    """Draws of what the truth may be; a guess is one draw."""

    median: Floats
    """[draw] median step of the seeds that solve."""
    spread: Floats
    """[draw] standard deviation of their natural log steps."""
    share: Floats
    """[draw] probability that a seed ever solves."""
    seeds: int | None
    """Seeds of the pilot; None for a guess."""

    @property
    def estimate(self) -> "Outlook":
        """The middle of what is believed, as if it were known."""
        middle = [np.atleast_1d(np.median(draws)) for draws in (self.median, self.spread, self.share)]
        return Outlook(*middle, seeds=self.seeds)

    def solve_by(self, budget: float) -> Floats:
        """[draw] probability that a seed solves by `budget`, in steps."""
        return self.share * ndtr(np.log(budget / self.median) / self.spread)

    def find_budget(self, share: float, ratio: float = 1.0) -> float:
        """Steps in which `share` of the seeds that ever solve do so, if their median is `ratio` times this one."""
        middle = self.estimate
        return float(middle.median[0] * ratio * np.exp(middle.spread[0] * ndtri(share)))

    def simulate(self, studies: int, seeds: int, generator: np.random.Generator, ratio: float = 1.0) -> Floats:
        """[study, seed] steps, inf for never, of studies each of which has one draw for its truth.

        The median step is `ratio` times what is believed. Draws are taken in turn, so that two calls see the same.
        """
        draw = np.arange(studies) % len(self.median)
        steps = np.exp(generator.normal(np.log(ratio * self.median[draw]), self.spread[draw], (seeds, studies)))
        return np.where(generator.random((seeds, studies)) < self.share[draw], steps, np.inf).T


def guess_outlook(median: float, spread: float, share: float = 1.0) -> Outlook:
    """Stated guesses: median step, standard deviation of natural log steps (.45 is usual), share that ever solves."""
    if not (0.0 < median <= LONGEST and 0.0 < spread <= WIDEST and 0.0 < share <= 1.0):
        raise ValueError(
            f"median is {median}, spread {spread}, share {share}; allowed are numbers above 0, the median up to "
            f"{LONGEST:g} steps, the spread up to {WIDEST:g}, the share up to 1"
        )
    return Outlook(np.array([median]), np.array([spread]), np.array([share]), None)


def fit_outlook(left: ArrayLike, right: ArrayLike, generator: np.random.Generator, draws: int = 400) -> Outlook:
    """What a pilot's intervals (left, right] [seed] say, one unit of each seed; see `measure.intervals` for the ends.

    The draws are from the estimates' sampling distributions: chi-square for the variance and normal for the mean of log
    steps, with as many seeds as emerged. The share that ever solves is drawn from what the seeds say of it, given these
    two: one that was watched for a short time says little of whether it would have solved.

    Raises:
        SaltusError: if the pilot cannot tell the spread; guesses are then what is left.

    """
    left, right = check_intervals(left, right)
    censored = np.isinf(right)
    if (unwatched := censored & (left <= 0.0)).any():
        raise ValueError(f"{unwatched.sum()} seeds were not watched beyond step 0 and say nothing; leave them out")
    if censored.any():
        mixture = fit_cure(left, right)
        median, spread, events = mixture.median.value, mixture.spread, mixture.events
    else:
        plain = fit_steps(left, right)
        median, spread, events = plain.bound_quantile().value, plain.spread, plain.events
    assert median is not None  # and at least two events, as one alone has no spread
    spreads = np.minimum(spread * np.sqrt(events / generator.chisquare(events - 1, draws)), WIDEST)
    medians = median * np.exp(spreads * generator.normal(size=draws) / np.sqrt(events))
    ends, seeds = np.unique(left[censored], return_counts=True)
    chances = ndtr(np.log(ends / medians[:, None]) / spreads[:, None])
    shares = _draw_shares(events, seeds, chances, generator)
    return Outlook(medians, spreads, shares, len(left))


def watch(steps: Floats, every: float, budget: float) -> Floats:
    """Number of the evaluation, from 0, that first finds each of `steps` solved; inf if none until `budget` does.

    Evaluations are at every, 2 every, ..., and at the budget; `every` of 0 stands for watching at all times.
    """
    found = steps if every == 0.0 else np.ceil(steps / every)
    return np.where(steps <= budget, found, np.inf)


def _draw_shares(events: int, seeds: NDArray[np.int64], chances: Floats, generator: np.random.Generator) -> Floats:
    """[draw] the share that ever solves, from seeds that did, and others [end] that did not while they were watched.

    `chances` [draw, end] are those of having solved by then, for a seed that ever does. The likelihood is that of
    `measure.cure`, the prior is Jeffreys' (1946): with chances of 1 it is a beta distribution.
    """
    angle = (np.arange(_ANGLES) + 0.5) / _ANGLES * np.pi / 2.0  # in which the prior of the squared sine is even
    share = np.sin(angle) ** 2
    logs = np.tile(events * np.log(share), (len(chances), 1))
    for count, chance in zip(seeds, chances.T, strict=True):
        logs += count * np.log1p(-share * chance[:, None])
    mass = np.cumsum(np.exp(logs - logs.max(axis=1, keepdims=True)), axis=1)
    return share[(mass < generator.random((len(chances), 1)) * mass[:, -1:]).sum(axis=1)]
