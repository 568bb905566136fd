"""Interval-censored steps as plain arrays: which ends are closed, what is allowed, and an estimate with its limits.

Everywhere in `measure`, `left` and `right` [unit] say that a unit emerged in the half-open interval (left, right]: the
last evaluation without it, and the first with it. `right` is inf where the budget ended first. Anything below 0 in
`left` stands for -1: no evaluation was without the unit, so that (-1, 0] is "there at step 0" and (-1, 10] is "there by
step 10, or from the start". `left == right` stands for the closed interval [left, left]: exactly at that step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval; both ends of the interval are closed."""

    value: float | None
    """inf stands for "not within the budget"; None where the data cannot tell."""
    lower: float
    upper: float
    """The ends of what is possible (0 and inf for a step, 0 and 1 for a share) where the data set no limit."""
    level: float
    """Confidence level, in (0, 1)."""


def check_intervals(left: ArrayLike, right: ArrayLike, arm: str = "") -> tuple[Floats, Floats]:
    """Both ends as arrays [unit] with every `left` below 0 at -1; `arm` names the sample in a message.

    Raises:
        ValueError: if the two do not have one axis of the same length, or an interval is empty, NaN or below step 0.

    """
    checked_left, checked_right = np.array(left, dtype=np.float64), np.array(right, dtype=np.float64)
    names = f"left{arm and ' of '}{arm} has", f"right{arm and ' of '}{arm}"
    if checked_left.ndim != 1 or checked_left.shape != checked_right.shape or not len(checked_left):
        raise ValueError(
            f"{names[0]} shape {checked_left.shape} and {names[1]} {checked_right.shape}; "
            "allowed is one axis of the same length in both, with at least one unit"
        )
    checked_left[checked_left < 0.0] = -1.0
    wrong = ~((checked_left < np.inf) & (checked_right >= 0.0) & (checked_left <= checked_right))  # true for NaN
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"{names[0]} {np.asarray(left)[i]} where {names[1]} has {checked_right[i]} (unit {i}); allowed are "
            "left <= right with a finite left and right at least 0, and right = inf where the budget ended first"
        )
    return checked_left, checked_right


def check_seeds(seeds: ArrayLike | None, units: int) -> NDArray[np.int64]:
    """[unit] the seed of each unit as a number from 0; every unit is a seed of its own where `seeds` is None."""
    if seeds is None:
        return np.arange(units)
    labels = np.asarray(seeds)
    if labels.shape != (units,):
        raise ValueError(f"seeds has shape {labels.shape}; it needs one label for each of the {units} units")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def check_level(level: float) -> None:
    """Refuse a level that is no confidence level."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; allowed is a number between 0 and 1, such as 0.95")


def bound_share(count: int, of: int, level: float = 0.95) -> Estimate:
    """The probability behind `count` of `of` independent seeds, with the exact interval of Clopper and Pearson (1934).

    Without a seed the interval is [0, 1] and the value None.
    """
    check_level(level)
    if not 0 <= count <= of:
        raise ValueError(f"count is {count} of {of}; allowed is a count from 0 to the number of seeds")
    tail = (1.0 - level) / 2
    lower = float(stats.beta.ppf(tail, count, of - count + 1)) if count else 0.0
    upper = float(stats.beta.isf(tail, count + 1, of - count)) if count < of else 1.0
    return Estimate(count / of if of else None, lower, upper, level)
