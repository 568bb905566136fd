"""When one unit emerged in the seeds of each group: how many, how long, and what the paper would plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saltus.curves import Emergence
from saltus.measure.bootstrap import bootstrap_emergences
from saltus.measure.intervals import Estimate

DRAWS = 500
"""Of the bootstrap behind each number of a report: limits move by less than one evaluation from stream to stream."""


@dataclass(frozen=True)
class GroupSummary:
    """When one unit emerged in the seeds of one group. Seeds of which nothing was measured say nothing."""

    group: str
    emerged: int
    """Seeds in which it did."""
    censored: int
    """Seeds in which it had not by the last step at which that could be said."""
    unmeasured: int
    """Seeds that were not watched beyond step 0."""
    paper_mean: float
    """The number in the paper's figure, in steps; see `find_paper_step`. NaN without a measured seed."""
    median: Estimate | None
    """Step by which half of the seeds had it, Turnbull's; inf where fewer did, None without a measured seed."""

    @property
    def measured(self) -> int:
        """Seeds of which something was."""
        return self.emerged + self.censored


def summarise_groups(
    found: Sequence[Emergence],
    seeds: Mapping[str, int],
    last: int,
    generator: np.random.Generator,
    level: float = 0.95,
) -> list[GroupSummary]:
    """One unit over the seeds of each group.

    `found` are the emergences of that unit, `seeds` the number of seeds of each group, measured or not, `last` the last
    step of all groups; `level` is that of the medians' intervals.
    """
    return [_summarise(g, [e for e in found if e.key.group == g], seeds[g], last, generator, level) for g in seeds]


def find_paper_step(emergence: Emergence, last: int) -> float:
    """The step that the paper plots (arXiv 2606.25010): the middle of the bracketing pair of checkpoints.

    A censored one counts as the suite's last step, 143,000 for Pythia, which makes a mean over seeds too small. One
    that was there at the first measured checkpoint counts as that one. It is for comparison with the paper alone.
    """
    if emergence.by is None:
        return float(last)
    return float(emergence.by) if emergence.after < 0 else (emergence.after + emergence.by) / 2


def _summarise(
    group: str, found: Sequence[Emergence], seeds: int, last: int, generator: np.random.Generator, level: float
) -> GroupSummary:
    found = [emergence for emergence in found if not emergence.unwatched]
    emerged = sum(not emergence.censored for emergence in found)
    return GroupSummary(
        group=group,
        emerged=emerged,
        censored=len(found) - emerged,
        unmeasured=seeds - len(found),
        paper_mean=float(np.mean([find_paper_step(e, last) for e in found])) if found else float("nan"),
        median=bootstrap_emergences(found, generator, DRAWS).quantile(level=level) if found else None,
    )
