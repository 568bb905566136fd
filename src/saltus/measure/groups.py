"""When one unit emerged in the seeds of each group: how many, how long, and what the paper would plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saltus.curves import Emergence
from saltus.measure.survival import SurvivalCurve, estimate_survival, times_of


@dataclass(frozen=True)
class GroupSummary:
    """When one unit emerged in the seeds of one group. Seeds of which nothing was measured say nothing."""

    group: str
    emerged: int
    """Seeds in which it did."""
    censored: int
    """Seeds in which it had not by the last step at which that could be said."""
    unmeasured: int
    """Seeds of which nothing could be measured."""
    paper_mean: float
    """The number in the paper's figure, in steps; see `find_paper_step`. NaN without a measured seed."""
    curve: SurvivalCurve | None
    """Kaplan-Meier estimate from the right ends of the intervals; None without a measured seed."""

    @property
    def median(self) -> float | None:
        """Step by which the unit emerged in half of the seeds; None where fewer did."""
        return None if self.curve is None else self.curve.median

    @property
    def median_band(self) -> tuple[float | None, float | None]:
        """Where the band of the curve crosses one half, in steps; None where it does not (Brookmeyer, Crowley 1982)."""
        if self.curve is None:
            return None, None
        return _find_half(self.curve, self.curve.lower), _find_half(self.curve, self.curve.upper)


def summarise_groups(
    found: Sequence[Emergence], seeds: Mapping[str, int], last: int, level: float = 0.95
) -> list[GroupSummary]:
    """One unit over the seeds of each group.

    `found` are the emergences of that unit, `seeds` the number of seeds of each group, measured or not, `last` the last
    step of all groups; `level` is that of the bands.
    """
    return [_summarise(g, [e for e in found if e.key.group == g], seeds[g], last, level) for g in seeds]


def find_paper_step(emergence: Emergence, last: int) -> float:
    """The step that the paper plots (arXiv 2606.25010): the middle of the bracketing pair of checkpoints.

    A censored one counts as the suite's last step, 143,000 for Pythia, which makes a mean over seeds too small. One
    that was there at the first measured checkpoint counts as that one. It is for comparison with the paper alone.
    """
    if emergence.by is None:
        return float(last)
    return float(emergence.by) if emergence.after < 0 else (emergence.after + emergence.by) / 2


def _summarise(group: str, found: Sequence[Emergence], seeds: int, last: int, level: float) -> GroupSummary:
    emerged = sum(not emergence.censored for emergence in found)
    return GroupSummary(
        group=group,
        emerged=emerged,
        censored=len(found) - emerged,
        unmeasured=seeds - len(found),
        paper_mean=float(np.mean([find_paper_step(e, last) for e in found])) if found else float("nan"),
        curve=estimate_survival(*times_of(found), level=level) if found else None,
    )


def _find_half(curve: SurvivalCurve, bound: NDArray[np.float64]) -> float | None:
    """First time at which a bound of the curve is at most one half; None if it never is."""
    reached = np.flatnonzero(bound <= 0.5 + 1e-9)
    return float(curve.times[reached[0]]) if len(reached) else None
