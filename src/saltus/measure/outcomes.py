"""What a cell of a study came to, seed by seed: its loss at the end, the rows it learned, how long its plateau was."""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]  # scipy ships none

from saltus.errors import SaltusError
from saltus.measure.emergence import Emergence, find_all, find_task_emergence
from saltus.measure.survival import estimate_survival, times_of
from saltus.train.records import RunRecords


@dataclass(frozen=True)
class Share:
    """How many of a number of seeds, with an exact interval (Clopper and Pearson 1934) for the probability."""

    count: int
    of: int
    lower: float
    upper: float


def final_loss(records: RunRecords) -> NDArray[np.float64]:
    """[seed] mean training loss, in nats, between the last two evaluations."""
    return records.cube("steps", "train_loss")[:, -1]


def count_learned(records: RunRecords) -> NDArray[np.int64]:
    """[seed] units that emerged and were not lost again."""
    return np.array([sum(u.by is not None and u.lost is None for u in seed) for seed in unit_emergences(records)])


def unit_emergences(records: RunRecords) -> list[list[Emergence]]:
    """The emergence of every unit, [seed][unit]."""
    return find_all(records.evaluated_steps, records.cube("units", "progress"), records.spec.emergence)


def task_emergences(records: RunRecords) -> list[Emergence]:
    """The emergence of all units at once, [seed]."""
    return find_task_emergence(records.evaluated_steps, records.cube("units", "progress"), records.spec.emergence)


def median_unit_step(records: RunRecords) -> float | None:
    """The step by which half of the units of all seeds were there (Kaplan-Meier); None if not in the budget."""
    return estimate_survival(*times_of([unit for seed in unit_emergences(records) for unit in seed])).median


def score_learning(records: RunRecords) -> tuple[float, float]:
    """What is larger is better: units learned, in the mean over seeds, and less the step by which half were there."""
    median = median_unit_step(records)
    return float(count_learned(records).mean()), -inf if median is None else -float(median)


def find_passings(records: RunRecords, level: float) -> list[Emergence]:
    """When the training loss, as a mean over the steps between two evaluations, first falls below `level`, [seed].

    In nats. With the paper's level of 1.3 on cellular automata it is the end of the plateau.
    """
    return _find_below(records.evaluated_steps, records.cube("steps", "train_loss"), level)


def find_first_batches(records: RunRecords, level: float) -> list[Emergence]:
    """When the loss of a single batch first falls below `level`, in nats, [seed]: by luck too, the more so a small one.

    Only the lowest of the batches between two evaluations is recorded, so the interval is one of those.

    Raises:
        SaltusError: if the records are of a version that did not record it.

    """
    losses = records.cube("steps", "lowest_train_loss")
    if np.isnan(losses).any():
        raise SaltusError(
            f"{records.path} does not say what its cheapest batches cost, as it was made by an older version; "
            "delete it, and run its study again"
        )
    return _find_below(records.evaluated_steps, losses, level)


def _find_below(steps: NDArray[np.int64], losses: NDArray[np.float64], level: float) -> list[Emergence]:
    found: list[Emergence] = []
    for seed in losses:
        below = np.flatnonzero(seed < level)  # never step 0, before which there is no batch
        if len(below):
            found.append(Emergence(int(steps[below[0] - 1]), int(steps[below[0]]), None))
        else:
            found.append(Emergence(int(steps[-1]), None, None))
    return found


def estimate_share(count: int, of: int, level: float = 0.95) -> Share:
    """The probability behind `count` of `of` seeds."""
    interval = stats.binomtest(count, of).proportion_ci(level, method="exact")
    return Share(count, of, float(interval.low), float(interval.high))
