"""When a unit emerges: an interval between two evaluations, or censored at the budget; it can be lost again."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from saltus.specs import EmergenceSpec


@dataclass(frozen=True)
class Emergence:
    """When one unit of one seed emerged: somewhere in the interval (after, by]."""

    after: int
    """Last evaluated step without the unit, in steps: the open left end of the interval.

    -1 if no evaluation was without it. With `by` at the first evaluation, the unit was there from the start.
    """
    by: int | None
    """First evaluated step with the unit, in steps: the closed right end; None if censored."""
    lost: int | None
    """First evaluated step of the first loss that held after the emergence, in steps; None if it was never lost."""

    @property
    def censored(self) -> bool:
        """Whether training ended before the unit was confirmed to be there; all that is known is that it came later."""
        return self.by is None


def find_emergence(steps: NDArray[np.int64], progress: NDArray[np.float64], spec: EmergenceSpec) -> Emergence:
    """The first time that a unit reaches the threshold and stays there for `spec.hold` evaluations in a row.

    `steps` [evaluation] are the evaluated steps, `progress` [evaluation] the share of the way from chance to the floor
    loss. NaN counts as below. The interval ends at the first of the evaluations that hold, not at the one that
    confirms it. A crossing that the budget leaves unconfirmed is censored at the last step below the threshold; the
    same number of evaluations in a row below the threshold makes a loss.
    """
    _check_steps(steps)
    if progress.shape != steps.shape:
        raise ValueError(f"progress has shape {progress.shape}; it needs one value for each of the {len(steps)} steps")
    there = progress >= spec.threshold  # false for NaN
    first = _find_run(there, spec.hold)
    if first is None:
        without = np.flatnonzero(~there)
        return Emergence(after=int(steps[without[-1]]) if len(without) else -1, by=None, lost=None)
    loss = _find_run(~there[first:], spec.hold)
    return Emergence(
        after=int(steps[first - 1]) if first else -1,
        by=int(steps[first]),
        lost=None if loss is None else int(steps[first + loss]),
    )


def find_all(steps: NDArray[np.int64], progress: NDArray[np.float64], spec: EmergenceSpec) -> list[list[Emergence]]:
    """The emergence of every unit of every seed, [seed][unit].

    `steps` is [evaluation], `progress` [seed, evaluation, unit]; see `find_emergence`.
    """
    _check_ensemble(steps, progress)
    return [[find_emergence(steps, unit, spec) for unit in seed.T] for seed in progress]


def find_task_emergence(
    steps: NDArray[np.int64], progress: NDArray[np.float64], spec: EmergenceSpec
) -> list[Emergence]:
    """The emergence of the whole task, [seed]: all its units are there at once.

    `steps` is [evaluation], `progress` [seed, evaluation, unit]. This is the emergence of the least progress over the
    units, which a mean would hide: a mean of 0.95 admits 15 of 16 rows. NaN in any unit counts as below.
    """
    _check_ensemble(steps, progress)
    return [find_emergence(steps, least, spec) for least in progress.min(axis=2)]


def _find_run(flags: NDArray[np.bool_], length: int) -> int | None:
    """Where the first `length` true values in a row begin, or None."""
    if len(flags) < length:
        return None
    runs = sliding_window_view(flags, length).all(axis=1)
    return int(runs.argmax()) if runs.any() else None


def _check_steps(steps: NDArray[np.int64]) -> None:
    if steps.ndim != 1 or not len(steps):
        raise ValueError(f"steps has shape {steps.shape}; allowed is one axis with at least one evaluation")
    if steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise ValueError(f"steps are {steps}; they must be at least 0 and strictly increasing")


def _check_ensemble(steps: NDArray[np.int64], progress: NDArray[np.float64]) -> None:
    _check_steps(steps)
    if progress.ndim != 3 or progress.shape[1] != len(steps) or not progress.shape[2]:
        raise ValueError(
            f"progress has shape {progress.shape}; allowed is [seed, evaluation, unit] with {len(steps)} evaluations "
            "and at least one unit"
        )
