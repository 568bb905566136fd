"""What seeds came to: the units that each learned, the share that solved, the step by which half were there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from saltus.curves import Emergence, Emergences
from saltus.measure.survival import estimate_survival, times_of


@dataclass(frozen=True)
class Share:
    """How many of a number of seeds, with an exact interval (Clopper and Pearson 1934) for the probability."""

    count: int
    of: int
    lower: float
    upper: float


def count_learned(found: Emergences) -> NDArray[np.int64]:
    """[seed] units that emerged and were not lost again."""
    return np.array([sum(e.by is not None and e.lost is None for e in seed) for seed in found.by_seed().values()])


def median_step(found: Sequence[Emergence]) -> float | None:
    """The step by which half were there (Kaplan-Meier on the right ends); None if not within the budget."""
    return estimate_survival(*times_of(found)).median


def estimate_share(count: int, of: int, level: float = 0.95) -> Share:
    """The probability behind `count` of `of` seeds."""
    interval = stats.binomtest(count, of).proportion_ci(level, method="exact")
    return Share(count, of, float(interval.low), float(interval.high))
