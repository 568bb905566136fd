"""Scores of intervals for tests of arms: how much sooner or later than the others a unit emerged.

`left`, `right` [unit] are intervals (left, right]; see `measure.intervals` for the ends. Formulas are those of Fay and
Shaw, Journal of Statistical Software 36(2), 2010, section 2: the derivative of each unit's log-likelihood in the effect
of its arm, where there is none, with Turnbull's estimate of the pooled sample for the distribution.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import xlogy

from saltus.measure.intervals import Floats, check_intervals
from saltus.measure.turnbull import find_cells, maximise_masses

ScoreKind = Literal["sun", "finkelstein", "wilcoxon"]
"""Sun's log-rank (1996), Finkelstein's (proportional hazards, 1986), Wilcoxon's (proportional odds; Fay 1996)."""


@dataclass(frozen=True)
class ScoreTest:
    """Chi-square test that arms are alike; an approximation for many units."""

    statistic: float
    degrees: int
    p_value: float


@dataclass(frozen=True)
class _Fit:
    """Pooled survival at the ends of each interval, as a function of the masses [cell] with more than none of it."""

    survival_left: Floats
    survival_right: Floats
    after_left: Floats
    """[unit, cell] 1 where the cell lies after the left end."""
    after_right: Floats
    """[unit, cell] 1 where the cell lies after the right end."""
    hazard_left: Floats
    hazard_right: Floats
    """[unit] Sun's cumulative hazard, the sum of mass over the share still without, until the end."""


def score_units(left: ArrayLike, right: ArrayLike, kind: ScoreKind) -> Floats:
    """[unit] scores that add up to 0: above 0 for a unit that emerged sooner than most."""
    if kind not in get_args(ScoreKind):
        raise ValueError(f"kind is {kind}; allowed are {', '.join(get_args(ScoreKind))}")
    fit = _fit_pooled(*check_intervals(left, right))
    before, after = fit.survival_left, fit.survival_right
    if kind == "wilcoxon":
        return before + after - 1.0
    if kind == "finkelstein":
        return (xlogy(before, before) - xlogy(after, after)) / (before - after)
    return (after * fit.hazard_right - before * fit.hazard_left) / (before - after)


def compare_hazards(left: ArrayLike, right: ArrayLike, arm: ArrayLike) -> ScoreTest:
    """Finkelstein's score test (Biometrics 42, 1986) that arms [unit] have the same hazard, for many units.

    The variance is the efficient information: what the masses of the pooled sample leave of the arms' own.
    """
    left, right = check_intervals(left, right)
    _, number = np.unique(np.asarray(arm), return_inverse=True)
    arms = int(number.max()) + 1
    if number.shape != left.shape or arms < 2:
        raise ValueError(
            f"arm has shape {number.shape} and {arms} arms; allowed is a label of at least two for each unit"
        )
    fit = _fit_pooled(left, right)
    before, after = fit.survival_left, fit.survival_right
    probability = before - after
    score = (xlogy(before, before) - xlogy(after, after)) / probability
    member = (number[:, None] == np.arange(1, arms)).astype(np.float64)  # [unit, arm but the first]
    gain = member.T @ score
    # Second derivatives of log(S(left)^w - S(right)^w), w = exp(effect), in the effect and in the masses but the last.
    log_before, log_after = (np.log(np.where(s > 0.0, s, 1.0)) for s in (before, after))
    curve = (before * log_before * (log_before + 1.0) - after * log_after * (log_after + 1.0)) / probability - score**2
    here = fit.after_left - fit.after_right
    cross = ((log_before + 1.0)[:, None] * fit.after_left - (log_after + 1.0)[:, None] * fit.after_right) / probability[
        :, None
    ] - (score / probability)[:, None] * here
    here, cross = (table[:, :-1] - table[:, -1:] for table in (here / probability[:, None], cross))
    own = -(member * curve[:, None]).T @ member
    shared = -member.T @ cross
    masses = here.T @ here
    information = own - shared @ np.linalg.pinv(masses) @ shared.T
    statistic = float(gain @ np.linalg.pinv(information) @ gain)
    return ScoreTest(statistic, arms - 1, float(stats.chi2.sf(statistic, arms - 1)))


def _fit_pooled(left: Floats, right: Floats) -> _Fit:
    _, _, cover = find_cells(left, right)
    mass = maximise_masses(cover, np.ones(len(left)))
    cover, mass = cover[:, mass > 0.0], mass[mass > 0.0]
    # a unit covers a run of cells: those before it are over, those after it lie beyond its right end
    passed = np.cumsum(cover, axis=1)
    after_right = ((passed == passed[:, -1:]) & ~cover).astype(np.float64)
    after_left = np.maximum(after_right, cover)
    at_risk = np.cumsum(mass[::-1])[::-1]
    hazard = mass / at_risk
    return _Fit(
        survival_left=after_left @ mass,
        survival_right=after_right @ mass,
        after_left=after_left,
        after_right=after_right,
        hazard_left=(1.0 - after_left) @ hazard,
        hazard_right=(1.0 - after_right) @ hazard,
    )
