"""How abruptly the units that emerged did so: over many curves, and whether a smooth metric rises as abruptly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saltus.curves import Curve, Curves, Emergences, Key
from saltus.errors import SaltusError
from saltus.measure.abruptness import Abruptness, Mirage, compare_metrics, measure_abruptness


@dataclass(frozen=True)
class Rises:
    """The rises of many curves, as medians and counts."""

    curves: int
    """That emerged, and have enough evaluations to be measured."""
    jumps: int
    """With half of the rise or more in the steepest stretch, from a step to 1.1 times that step."""
    unclear: int
    """Of which the grid of evaluations leaves that open."""
    steepest: float
    """Share of the rise in the steepest stretch, median."""
    width: float
    """Steps from 10% to 90% of the rise over the step of its middle, median; .42 in a public replication."""
    smooth: str
    """What the smooth metric is called; empty where there is none."""
    both: int
    """Curves that jump on the smooth metric as well."""
    alone: int
    """Curves that jump on the threshold metric alone, and may owe their jump to it."""


def summarise_rises(sharp: Curves, found: Emergences, smooth: Curves | None = None) -> Rises | None:
    """The rises of those of the curves `sharp` whose units emerged, beside those on a smooth metric of the same keys.

    A unit that was there at its first evaluation did not rise while it was watched, and is left out.
    None where no curve that emerged has three evaluations after step 0 and a rise. Evaluations without a value are left
    out; so is a smooth metric that has none.
    """
    emerged = {emergence.key for emergence in found if not emergence.censored and emergence.after >= 0}
    beside: dict[Key, Curve] = {} if smooth is None else {curve.key: curve for curve in smooth}
    rises: list[Abruptness] = []
    mirages: list[Mirage] = []
    for curve in sharp:
        known = np.isfinite(curve.values)
        if curve.key in emerged and (rise := _measure(curve, known)) is not None:
            rises.append(rise)
            other = beside.get(curve.key)
            if other is not None and (mirage := _compare(curve, other)) is not None:
                mirages.append(mirage)
    if not rises:
        return None
    verdicts = [mirage.verdict for mirage in mirages]
    return Rises(
        curves=len(rises),
        jumps=sum(rise.jumps is True for rise in rises),
        unclear=sum(rise.jumps is None for rise in rises),
        steepest=float(np.median([rise.steepest.value for rise in rises])),
        width=float(np.median([rise.width.value for rise in rises])),
        smooth=smooth.measure if smooth is not None and mirages else "",
        both=verdicts.count("on both"),
        alone=verdicts.count("on the threshold metric alone"),
    )


def _measure(curve: Curve, known: NDArray[np.bool_]) -> Abruptness | None:
    try:
        return measure_abruptness(curve.steps[known], curve.values[known])
    except SaltusError:  # too few evaluations, or flat
        return None


def _compare(sharp: Curve, smooth: Curve) -> Mirage | None:
    steps, here, there = np.intersect1d(sharp.steps, smooth.steps, return_indices=True)
    values = sharp.values[here], smooth.values[there]
    known = np.isfinite(values[0]) & np.isfinite(values[1])
    try:
        return compare_metrics(steps[known], values[0][known], values[1][known])
    except SaltusError:
        return None
