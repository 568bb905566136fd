"""How abrupt a curve is, in numbers that depend on neither the grid of evaluations nor the scale of the metric.

The curve is first made monotone (least squares, pool adjacent violators), so that noise on the plateaus is no rise; its
lowest and highest level are 0 and 1 of the rise. Between two evaluations nothing is known but that the rise goes on:
each number comes with the least and the most that it can be, and a coarse grid makes these far apart instead of making
the curve look gentle.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import (
    isotonic_regression,
    least_squares,
)
from scipy.special import expit

from saltus.errors import SaltusError
from saltus.measure.intervals import Floats

STRETCH = 0.1
"""Length of the steepest stretch, as a share of the step at which it begins."""

_BESIDE = 1e-9
"""How far a step just beside an evaluation is from it, as a share of it."""


@dataclass(frozen=True)
class Bracket:
    """A number read off between evaluations, as if the rise were even there, and what it can be."""

    value: float
    least: float
    most: float


@dataclass(frozen=True)
class Abruptness:
    """The rise of one curve, or its fall: all shares are of the way from its first level to its last."""

    falls: bool
    """Whether the metric goes down, as a loss does."""
    first: float
    last: float
    """Levels of the monotone curve at both ends, in the metric's unit."""
    time: Bracket
    """Step at which half of the rise is done."""
    width: Bracket
    """Steps from 10% to 90% of the rise, over `time`: .42 is the median of a public replication of emergence."""
    steepest: Bracket
    """Largest share of the rise in any stretch from a step to 1.1 times that step: 1 for a jump."""
    noise: float
    """Standard deviation of the values around the monotone curve, as a share of the rise."""
    rise: "Rise"

    @cached_property
    def slope(self) -> float:
        """Of the logistic curve in natural log step that fits best."""
        return _fit_logistic(self.rise)

    @property
    def smooth_width(self) -> float:
        """The same width of the logistic curve that fits best."""
        return float(np.exp(np.log(9.0) / self.slope) - np.exp(-np.log(9.0) / self.slope))

    @property
    def smooth_steepest(self) -> float:
        """The same share of that logistic curve; where `steepest` is far above, the curve jumps as no logistic does."""
        return float(2.0 * expit(self.slope * np.log1p(STRETCH) / 2.0) - 1.0)

    @property
    def jumps(self) -> bool | None:
        """Whether half of the rise or more lies in the steepest stretch; None where the grid leaves it open."""
        if self.steepest.least >= 0.5:
            return True
        return False if self.steepest.most < 0.5 else None


@dataclass(frozen=True)
class Mirage:
    """Whether the rise of a threshold metric is there on a smooth one (Schaeffer et al., arXiv 2304.15004)."""

    threshold: Abruptness
    smooth: Abruptness
    shared: Bracket
    """Share of the smooth metric's rise between 10% and 90% of the threshold metric's."""

    @property
    def verdict(self) -> Literal["on both", "on the threshold metric alone", "no jump", "cannot be told"]:
        """Where there is a jump, in the sense of `Abruptness.jumps`."""
        if self.threshold.jumps is False:
            return "no jump"
        if self.threshold.jumps is None or self.smooth.jumps is None:
            return "cannot be told"
        return "on both" if self.smooth.jumps else "on the threshold metric alone"


@dataclass(frozen=True)
class Rise:
    """A monotone curve from 0 to 1: `done` [evaluation] at `steps` [evaluation]."""

    steps: Floats
    done: Floats

    def reach(self, share: float) -> Bracket:
        """The step at which `share` of the rise is done."""
        after = int(np.flatnonzero(self.done >= share - 1e-12)[0])
        if after == 0:
            return Bracket(*[float(self.steps[0])] * 3)
        least, most = float(self.steps[after - 1]), float(self.steps[after])
        part = (share - self.done[after - 1]) / (self.done[after] - self.done[after - 1])
        return Bracket(least + (most - least) * float(part), least, most)

    def share(self, start: Floats, stop: Floats) -> tuple[Floats, Floats, Floats]:
        """Value, least and most of the rise between steps [stretch]."""
        begin, end = (np.interp(at, self.steps, self.done) for at in (start, stop))
        low = [self.done[np.maximum(np.searchsorted(self.steps, at, "right") - 1, 0)] for at in (start, stop)]
        high = [self.done[np.minimum(np.searchsorted(self.steps, at), len(self.steps) - 1)] for at in (start, stop)]
        return end - begin, np.maximum(low[1] - high[0], 0.0), high[1] - low[0]

    def find_steepest(self) -> Bracket:
        """The largest share in a stretch.

        It begins or ends at an evaluation, where the slope changes; what it can be at most changes just beside them.
        """
        positive = self.steps[self.steps > 0.0]
        ends = np.concatenate([positive * beside for beside in (1.0 - _BESIDE, 1.0, 1.0 + _BESIDE)])
        start = np.concatenate([ends, ends / (1.0 + STRETCH)])
        value, least, most = (float(shares.max()) for shares in self.share(start, start * (1.0 + STRETCH)))
        return Bracket(value, least, most)


def measure_abruptness(steps: ArrayLike, values: ArrayLike) -> Abruptness:
    """How abrupt `values` [evaluation] rise or fall over `steps` [evaluation], at least 0 and increasing.

    Raises:
        ValueError: if a value is not finite, or steps do not increase.
        SaltusError: if there are fewer than three evaluations after step 0, or the curve is flat.

    """
    steps, values = _check_curve(steps, values)
    rise, falls, levels, noise = _make_monotone(steps, values)
    time, start, stop = (rise.reach(share) for share in (0.5, 0.1, 0.9))
    middle = max(time.value, 1e-12)
    return Abruptness(
        falls=falls,
        first=levels[0],
        last=levels[1],
        time=time,
        width=Bracket(
            (stop.value - start.value) / middle,
            max(stop.least - start.most, 0.0) / max(time.most, middle),
            (stop.most - start.least) / max(time.least, 1e-12) if time.least else np.inf,
        ),
        steepest=rise.find_steepest(),
        noise=noise,
        rise=rise,
    )


def compare_metrics(steps: ArrayLike, threshold: ArrayLike, smooth: ArrayLike) -> Mirage:
    """Whether the rise of a threshold metric (accuracy) is there on a smooth one (probability of the target, loss).

    Both are [evaluation] at `steps` [evaluation]; errors are those of `measure_abruptness`.
    """
    checked, sharp_values = _check_curve(steps, threshold)
    _, smooth_values = _check_curve(steps, smooth)
    sharp, soft = (_make_monotone(checked, values)[0] for values in (sharp_values, smooth_values))
    start, stop = sharp.reach(0.1), sharp.reach(0.9)

    def between(begin: float, end: float) -> tuple[float, float, float]:
        value, least, most = (float(share[0]) for share in soft.share(np.array([begin]), np.array([max(end, begin)])))
        return value, least, most

    shared = Bracket(
        between(start.value, stop.value)[0], between(start.most, stop.least)[1], between(start.least, stop.most)[2]
    )
    return Mirage(measure_abruptness(steps, threshold), measure_abruptness(steps, smooth), shared)


def _make_monotone(steps: Floats, values: Floats) -> tuple[Rise, bool, tuple[float, float], float]:
    """The rise, whether it is a fall, the levels at both ends, and the noise as a share of the rise."""
    fits: dict[bool, Floats] = {}
    for falls in (False, True):
        found: Any = isotonic_regression(values, increasing=not falls)
        fits[falls] = np.asarray(found.x, dtype=np.float64)
    falls = bool(((fits[True] - values) ** 2).sum() < ((fits[False] - values) ** 2).sum())
    fit = fits[falls]
    height = float(fit[-1] - fit[0])
    if abs(height) <= 1e-12 * max(float(np.abs(values).max()), 1e-300):
        raise SaltusError(f"the curve stays at {fit[0]:g}, so there is no rise to measure; choose a unit that emerged")
    noise = float(np.std(values - fit)) / abs(height)
    return Rise(steps, (fit - fit[0]) / height), falls, (float(fit[0]), float(fit[-1])), noise


def _fit_logistic(rise: Rise) -> float:
    """Slope in natural log step of the logistic curve from 0 to 1 that fits best; at most 1000, for a jump."""
    after = rise.steps > 0.0
    logs, done = np.log(rise.steps[after]), rise.done[after]
    centre = np.log(max(rise.reach(0.5).value, float(rise.steps[after][0])))

    def miss(parameters: Floats) -> Floats:
        return expit(np.exp(parameters[1]) * (logs - parameters[0])) - done

    starts = [np.array([centre, np.log(slope)]) for slope in (2.0, 10.0, 50.0)]
    bounds = [-np.inf, -5.0], [np.inf, np.log(1000.0)]
    fits: list[Any] = [least_squares(miss, start, bounds=bounds) for start in starts]
    return float(np.exp(min(fits, key=lambda fit: fit.cost).x[1]))


def _check_curve(steps: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    checked_steps, checked_values = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if checked_steps.ndim != 1 or checked_values.shape != checked_steps.shape:
        raise ValueError(
            f"steps has shape {checked_steps.shape} and values {checked_values.shape}; "
            "allowed is one axis, the same in both"
        )
    if not np.isfinite(checked_values).all():
        i = int((~np.isfinite(checked_values)).argmax())
        raise ValueError(f"values has {checked_values[i]} at step {checked_steps[i]:g}; leave such evaluations out")
    if not ((np.diff(checked_steps) > 0.0).all() and (checked_steps >= 0.0).all() and np.isfinite(checked_steps).all()):
        raise ValueError(f"steps are {checked_steps}; they must be at least 0 and strictly increasing")
    if (checked_steps > 0.0).sum() < 3:
        raise SaltusError(
            f"the curve has {(checked_steps > 0.0).sum()} evaluations after step 0, too few to say how abrupt it is; "
            "evaluate three times or more"
        )
    return checked_steps, checked_values
