"""Turnbull's estimate: how many seeds are still without a capability, from intervals as they are.

`left`, `right` [unit] are intervals (left, right]; `measure.intervals` says which ends are closed and what inf, a
negative left and left == right stand for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from saltus.measure.intervals import Floats, check_intervals

_GAP = 1e-11
"""Largest mean gain in log-likelihood, per unit, that any shift of mass could still bring at the answer."""

_TRACE = 1e-7
"""A mass so small is dropped if the answer is as good without it."""


@dataclass(frozen=True)
class TurnbullEstimate:
    """The nonparametric maximum-likelihood distribution of the step of emergence (Turnbull 1976).

    The likelihood says how much mass each cell has, not where in the cell it lies: hence the pairs of limits below.
    """

    left: Floats
    """[cell] left ends, increasing: open, unless equal to the right end."""
    right: Floats
    """[cell] right ends: closed; inf in the last cell if some units may never emerge."""
    mass: Floats
    """[cell] positive, adds up to 1."""
    log_likelihood: float
    """In nats, at the maximum."""

    def survival_at(self, steps: ArrayLike) -> tuple[Floats, Floats]:
        """Lower and upper limit of the share still without at `steps` [...], wherever in its cell the mass lies."""
        steps = np.asarray(steps, dtype=np.float64)[..., None]
        later, not_before = self.right > steps, (self.left >= steps) & (self.right > steps)
        return not_before @ self.mass, later @ self.mass

    def quantile(self, share: float) -> tuple[float, float]:
        """The cell (left, right] in which the share of units that have emerged reaches `share`, in (0, 1)."""
        cell = int(find_quantile_cell(self.mass[None], share)[0])
        return float(self.left[cell]), float(self.right[cell])

    def place_quantile(self, share: float) -> float:
        """One step for the quantile: as if emergence were spread evenly within its cell; inf if not within the budget.

        At a cell that begins before step 0 it is spread from step 0.
        """
        cell = int(find_quantile_cell(self.mass[None], share)[0])
        left, right = max(self.left[cell], 0.0), self.right[cell]
        if np.isinf(right):
            return float("inf")
        inside = (share - self.mass[:cell].sum()) / self.mass[cell]
        return float(left + (right - left) * min(max(inside, 0.0), 1.0))

    def restricted_mean(self, horizon: float) -> tuple[float, float]:
        """Earliest and latest mean of min(step, horizon), in steps, wherever in its cell the mass lies."""
        _check_horizon(horizon)
        ends = np.clip(np.stack([self.left, self.right]), 0.0, horizon)
        earliest, latest = ends @ self.mass
        return float(earliest), float(latest)

    def place_restricted_mean(self, horizon: float) -> float | None:
        """One number for the restricted mean, in steps: as if emergence were spread evenly within its cell.

        None where some units were last seen, without, before the horizon.
        """
        _check_horizon(horizon)
        left, right = np.maximum(self.left, 0.0), self.right
        if np.isinf(right[-1]) and left[-1] < horizon:
            return None
        first, last = np.minimum(left, horizon), np.minimum(right, horizon)
        inside = np.divide(last - first, right - left, out=np.ones_like(left), where=right > left)
        return float(self.mass @ (inside * (first + last) / 2 + (1.0 - inside) * horizon))


def estimate_turnbull(left: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None) -> TurnbullEstimate:
    """The distribution behind intervals (left, right] [unit], each counted `weights` times (once by default).

    Mass can only lie in the innermost intersections of the intervals (Peto 1973; Turnbull, JRSS B 38, 1976). Their
    masses are found by the constrained Newton method (Wang, JRSS B 69, 2007), which stops where the conditions of
    Karush, Kuhn and Tucker show that the maximum is reached. There is one maximum: at each cell some interval ends that
    covers this cell and no later one, so the probabilities of the intervals determine the masses.
    """
    left, right = check_intervals(left, right)
    weighting = np.ones(len(left)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weighting.shape != left.shape or not (weighting >= 0.0).all() or not 0.0 < weighting.sum() < np.inf:
        raise ValueError(f"weights are {weighting}; allowed is a finite number of at least 0 for each unit, not all 0")
    counted = weighting > 0.0
    left, right, weighting = left[counted], right[counted], weighting[counted]
    cell_left, cell_right, cover = find_cells(left, right)
    mass = maximise_masses(cover, weighting)
    probability = cover @ mass
    some = mass > 0.0
    return TurnbullEstimate(
        left=cell_left[some],
        right=cell_right[some],
        mass=mass[some],
        log_likelihood=float(weighting @ np.log(probability)),
    )


def find_cells(left: Floats, right: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Innermost intersections of checked intervals: their ends, both [cell], and who covers them, [unit, cell].

    A cell begins at a left end and stops at a right end, with no end of any interval between the two.
    """
    # At one step come first the closed left ends of exact steps, then right ends, then open left ends.
    ends = np.concatenate([left, right])
    order = np.concatenate([np.where(left == right, 0, 2), np.ones(len(right))])
    ends, place = np.unique(np.stack([ends, order], axis=1), axis=0, return_inverse=True)
    stops = ends[:, 1] == 1
    starts = np.flatnonzero(~stops[:-1] & stops[1:])
    place = place.reshape(2, len(left), 1)
    return ends[starts, 0], ends[starts + 1, 0], (place[0] <= starts) & (place[1] > starts)


def maximise_masses(cover: NDArray[np.bool_], weights: Floats, start: Floats | None = None) -> Floats:
    """[cell] masses with the greatest sum over units of weight times log probability.

    `cover` is [unit, cell], `weights` [unit] are above 0, `start` [cell] are masses to begin from.
    """
    total = weights.sum()
    covered = cover.sum(axis=1)
    if (covered == 1).all():  # every two intervals are equal or disjoint: plain shares
        return weights @ cover / total
    mass = np.full(cover.shape[1], 1.0 / cover.shape[1]) if start is None else start
    probability = cover @ mass
    while True:
        slope = (weights / probability) @ cover / total
        if slope.max() <= 1.0 + _GAP:  # the gain left is at most slope.max() - 1, as the function is concave
            return _drop_traces(cover, weights, mass)
        # Quadratic approximation (Wang 2007, section 3): |root(w) (cover q / probability - 2)|^2 with q on the simplex
        table = np.sqrt(weights)[:, None] * (cover / probability[:, None] - 2.0)
        aim, _ = nnls(np.vstack([table, np.ones(len(mass))]), np.append(np.zeros(len(weights)), 1.0))
        mass, probability = _climb(cover, weights, mass, aim / aim.sum())


def find_quantile_cell(masses: Floats, share: float) -> NDArray[np.int64]:
    """[draw] the first cell at which the running sum of `masses` [draw, cell] reaches `share`, in (0, 1)."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"share is {share}; allowed is a number between 0 and 1, such as 0.5 for the median")
    # a sum of nine tenths that should be .9 must count as .9, whichever way it is rounded
    reached = np.cumsum(masses, axis=1) >= share - 1e-9
    reached[:, -1] = True
    return reached.argmax(axis=1)


def _climb(cover: NDArray[np.bool_], weights: Floats, mass: Floats, aim: Floats) -> tuple[Floats, Floats]:
    """Masses with a greater likelihood between `mass` and `aim`, and the probabilities [unit] of the intervals."""
    before = cover @ mass
    change = cover @ (aim - mass) / before
    step = 1.0
    while step > 1e-9:
        # log1p, as near the answer the gain is far below the rounding of the likelihood itself
        if (step * change > -1.0).all() and weights @ np.log1p(step * change) > 0.0:
            tried = (1.0 - step) * mass + step * aim if step < 1.0 else aim
            return tried, cover @ tried
        step /= 2
    tried = mass * ((weights / before) @ cover) / weights.sum()  # the step of EM (self-consistency) never goes down
    return tried, cover @ tried


def _drop_traces(cover: NDArray[np.bool_], weights: Floats, mass: Floats) -> Floats:
    """The masses without traces that the answer does not need: where a slope is exactly 1, a mass goes to 0 slowly."""
    kept = np.where(mass > _TRACE, mass, 0.0)
    kept /= kept.sum()
    probability = cover @ kept
    if (probability > 0.0).all() and ((weights / probability) @ cover).max() <= (1.0 + _GAP) * weights.sum():
        return kept
    return mass


def _check_horizon(horizon: float) -> None:
    if not 0.0 < horizon < np.inf:
        raise ValueError(f"horizon is {horizon}; allowed is a finite number of steps above 0")
