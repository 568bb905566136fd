"""The paper's figure of jumps in numbers: when units pass a loss, how long a fall takes, what attention does then."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saltus.curves import Emergence

WINDOW = 300
"""Steps over which a change of entropy is measured; the authors' falls take 300 to 500."""


@dataclass(frozen=True)
class EntropyChange:
    """Of the entropy of attention, in nats over `WINDOW` steps; medians."""

    around: float
    """Around a unit's jump, in the head that has most of its attention on the unit's true keys at the end."""
    elsewhere: float
    """Of the same head and unit, around all other steps."""

    @property
    def falls(self) -> bool:
        """Whether attention sharpens where units jump, and not just as training goes on."""
        return self.around < -0.1 and self.around < 3 * self.elsewhere


def rank_passings(steps: NDArray[np.int64], losses: NDArray[np.float64], level: float) -> list[list[float | None]]:
    """By seed and rank the first evaluated step of each unit with a loss below `level`, in nats, soonest first.

    `steps` is [evaluation], `losses` [seed, evaluation, unit]. None stands for a unit that has not passed within the
    budget.
    """
    ranked: list[list[float | None]] = []
    for below in losses < level:  # [evaluation, unit]
        passed = sorted(float(steps[unit.argmax()]) for unit in below.T if unit.any())
        ranked.append([*passed, *[None] * (below.shape[1] - len(passed))])
    return ranked


def measure_falls(steps: NDArray[np.int64], losses: NDArray[np.float64], chance: float) -> list[list[float]]:
    """[seed] how many steps the fall of each unit took: from the last loss above 90% of chance to the first below 10%.

    `steps` is [evaluation], `losses` [seed, evaluation, unit] in nats. A unit that did not get there has no fall.
    """
    falls: list[list[float]] = []
    for seed in losses:
        durations: list[float] = []
        for unit in seed.T:
            ends = np.flatnonzero(unit < 0.1 * chance)
            starts = np.flatnonzero(unit[: ends[0]] > 0.9 * chance) if len(ends) else ends
            if len(starts):
                durations.append(float(steps[ends[0]] - steps[starts[-1]]))
        falls.append(durations)
    return falls


def measure_entropy_change(
    steps: NDArray[np.int64],
    entropy: NDArray[np.float64],
    mass: NDArray[np.float64],
    found: Sequence[Sequence[Emergence]],
) -> EntropyChange:
    """What the entropy of the heads does at the jumps of units that emerged; 0 where none did.

    `steps` is [evaluation], `entropy` (nats) and `mass` on the true keys are [seed, evaluation, head, unit], `found`
    has the units of each seed.
    """
    window = np.searchsorted(steps, steps + WINDOW, side="left")
    around: list[float] = []
    elsewhere: list[float] = []
    for seed, units in enumerate(found):
        for number, unit in enumerate(units):
            if unit.by is None:
                continue
            best = entropy[seed, :, mass[seed, -1, :, number].argmax(), number]  # [evaluation]
            change = [float(best[min(j, len(best) - 1)] - best[i]) for i, j in enumerate(window)]
            start = int(np.searchsorted(steps, unit.by - WINDOW))
            around.append(change[start])
            elsewhere += [c for i, c in enumerate(change) if abs(i - start) > 6 and steps[i] > 50]
    return EntropyChange(_median(around), _median(elsewhere))


def _median(changes: Sequence[float]) -> float:
    return float(np.median(changes)) if changes else 0.0
