"""Confidence intervals by a bootstrap over seeds that stays honest with three of them.

The Bayesian bootstrap (Rubin 1981) gives seeds random weights. An ordinary bootstrap cannot look beyond the seeds it
has: of three solved seeds it says that all are solved, for sure. So one pseudo-seed is added to the real ones, and it
is the worst that there could be: for lower limits one that had the unit at step 0, for upper limits one that never gets
it. For the mean of a bounded quantity this is the bound of Gaffke (2005; Learned-Miller and Thomas, arXiv 1905.06208).
Where intervals do not overlap it gives the exact intervals: Clopper and Pearson's for a share and for survival at a
step, the binomial one (order statistics) for a median. Units of one seed share its weight: rows are never taken as
independent.

`left`, `right` [unit] are intervals (left, right]; see `measure.intervals` for the ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from saltus.curves import Emergence
from saltus.measure.intervals import Estimate, Floats, check_intervals, check_level, check_seeds
from saltus.measure.turnbull import TurnbullEstimate, estimate_turnbull, find_cells, find_quantile_cell, maximise_masses

DRAWS = 2000
"""Enough for limits that move by less than a tenth of their distance from one stream of random numbers to the next."""


@dataclass(frozen=True)
class Band:
    """The share still without at each step, with limits for each step on its own (not simultaneous)."""

    steps: Floats
    """[step] as given."""
    earliest: Floats
    """[step] Turnbull's estimate, if all mass lies at the left ends of its cells."""
    latest: Floats
    """[step] Turnbull's estimate, if all mass lies at the right ends of its cells."""
    lower: Floats
    upper: Floats
    level: float


@dataclass(frozen=True)
class MassDraws:
    """Turnbull's masses under random weights of the seeds."""

    left: Floats
    """[cell]"""
    right: Floats
    """[cell] the cell is (left, right]."""
    mass: Floats
    """[draw, cell]"""

    def survive(self, steps: ArrayLike) -> tuple[Floats, Floats]:
        """[draw, step] lower and upper limit of the share without at `steps` [step]."""
        steps = np.atleast_1d(np.asarray(steps, dtype=np.float64))[:, None]
        later = self.right > steps
        return self.mass @ (later & (self.left >= steps)).T, self.mass @ later.T

    def quantile(self, share: float) -> tuple[Floats, Floats]:
        """[draw] ends of the cell in which the share that has emerged reaches `share`."""
        cell = find_quantile_cell(self.mass, share)
        return np.maximum(self.left[cell], 0.0), self.right[cell]

    def restricted_mean(self, horizon: float) -> tuple[Floats, Floats]:
        """[draw] earliest and latest mean of min(step, horizon), in steps."""
        return self.mass @ np.clip(self.left, 0.0, horizon), self.mass @ np.clip(self.right, 0.0, horizon)


@dataclass(frozen=True)
class SeedBootstrap:
    """A sample's distribution of steps and what else the seeds allow.

    Lower limits come from `soonest`, upper ones from `latest`; each uses the end of the cells that is the less kind.
    """

    estimate: TurnbullEstimate
    seeds: int
    soonest: MassDraws
    """With a pseudo-seed that has the unit at step 0."""
    latest: MassDraws
    """With a pseudo-seed that never gets the unit."""

    def band(self, steps: ArrayLike, level: float = 0.95) -> Band:
        """Survival at `steps` [step]."""
        steps = np.atleast_1d(np.asarray(steps, dtype=np.float64))
        earliest, latest = self.estimate.survival_at(steps)
        lower, _ = find_limits(self.soonest.survive(steps)[0], level)
        _, upper = find_limits(self.latest.survive(steps)[1], level)
        return Band(steps, earliest, latest, lower, upper, level)

    def quantile(self, share: float = 0.5, level: float = 0.95) -> Estimate:
        """The step by which `share` of the units have emerged; its value is `TurnbullEstimate.place_quantile`."""
        lower, _ = find_limits(self.soonest.quantile(share)[0], level)
        _, upper = find_limits(self.latest.quantile(share)[1], level)
        return Estimate(self.estimate.place_quantile(share), float(lower), float(upper), level)

    def solved_by(self, step: float, level: float = 0.95) -> Estimate:
        """The share of units that have emerged by `step`; the value is None where the intervals leave it open."""
        band = self.band(step, level)
        known = bool(np.isclose(band.earliest[0], band.latest[0]))
        value = 1.0 - float(band.latest[0]) if known else None
        return Estimate(value, 1.0 - float(band.upper[0]), 1.0 - float(band.lower[0]), level)

    def restricted_mean(self, horizon: float, level: float = 0.95) -> Estimate:
        """The mean of min(step, horizon), in steps; its value is `TurnbullEstimate.place_restricted_mean`."""
        value = self.estimate.place_restricted_mean(horizon)
        lower, _ = find_limits(self.soonest.restricted_mean(horizon)[0], level)
        _, upper = find_limits(self.latest.restricted_mean(horizon)[1], level)
        return Estimate(value, float(lower), float(upper), level)


def bootstrap_seeds(
    left: ArrayLike,
    right: ArrayLike,
    generator: np.random.Generator,
    seeds: ArrayLike | None = None,
    draws: int = DRAWS,
) -> SeedBootstrap:
    """Turnbull's estimate of intervals (left, right] [unit] and its distribution under random weights of the seeds.

    `seeds` [unit] are labels; units with the same label belong to the same run. None: every unit is a seed of its own.
    """
    left, right = check_intervals(left, right)
    seed = check_seeds(seeds, len(left))
    return weigh_seeds(left, right, seed, draw_weights(int(seed.max()) + 1, generator, draws))


def bootstrap_emergences(
    found: Sequence[Emergence], generator: np.random.Generator, draws: int = DRAWS
) -> SeedBootstrap:
    """`bootstrap_seeds` of at least one emergence: those of one seed of one group share its weight."""
    left = [float(emergence.after) for emergence in found]
    right = [np.inf if emergence.by is None else float(emergence.by) for emergence in found]
    seeds = [f"{emergence.key.group}\0{emergence.key.seed}" for emergence in found]
    return bootstrap_seeds(left, right, generator, seeds, draws)


def draw_weights(seeds: int, generator: np.random.Generator, draws: int) -> Floats:
    """[draw, seed + 1] weights that add up to 1, uniform on the simplex; the last is the pseudo-seed's."""
    return generator.dirichlet(np.ones(seeds + 1), size=draws)


def weigh_seeds(left: Floats, right: Floats, seed: ArrayLike, weights: Floats) -> SeedBootstrap:
    """The bootstrap for checked intervals, seeds [unit] numbered from 0 and weights as of `draw_weights`."""
    seed = np.asarray(seed)
    seeds = weights.shape[1] - 1
    pairs, which = np.unique(np.stack([left, right], axis=1), axis=0, return_inverse=True)
    units = np.zeros((seeds + 1, len(pairs) + 1))  # how many units of each seed have each distinct interval
    np.add.at(units, (seed, which.reshape(-1)), 1.0)
    units[seeds, -1] = len(left) / seeds
    weighting = np.maximum(weights @ units, 1e-12)  # so that a weight that underflows leaves its cells in place
    last = np.append(left, right[np.isfinite(right)]).max()
    return SeedBootstrap(
        estimate=estimate_turnbull(left, right),
        seeds=seeds,
        soonest=_draw_masses(pairs, (-1.0, 0.0), weighting),
        latest=_draw_masses(pairs, (last, np.inf), weighting),
    )


def find_limits(draws: Floats, level: float) -> tuple[Floats, Floats]:
    """Percentiles over the first axis: lower and upper limit, of values that were drawn, so that inf does no harm."""
    check_level(level)
    lower, upper = np.quantile(draws, [(1.0 - level) / 2, (1.0 + level) / 2], axis=0, method="nearest")
    return lower, upper


def _draw_masses(pairs: Floats, pseudo: tuple[float, float], weighting: Floats) -> MassDraws:
    """Masses for the distinct intervals `pairs` [interval, 2] and one more, under `weighting` [draw, interval + 1]."""
    left, right = np.vstack([pairs, pseudo]).T
    cell_left, cell_right, cover = find_cells(left, right)
    if (cover.sum(axis=1) == 1).all():
        return MassDraws(cell_left, cell_right, weighting @ cover / weighting.sum(axis=1, keepdims=True))
    start = maximise_masses(cover, weighting.mean(axis=0)) * 0.99 + 0.01 / len(cell_left)
    return MassDraws(cell_left, cell_right, np.array([maximise_masses(cover, draw, start) for draw in weighting]))
