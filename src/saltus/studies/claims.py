"""Theirs beside ours, and verdicts on claims that are worked out from the two."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["reproduced", "in part", "not reproduced", "open", "not measured"]
"""A claim is *open* where its cells were run, and the seeds cannot tell or the comparison failed its gate; it is *not
measured* where they were not run, or not for long enough."""


@dataclass(frozen=True)
class Comparison:
    """One number of the authors beside the numbers of our seeds."""

    cell: str
    """The name of the row, such as `S=16, s=3`."""
    theirs: float | None
    """None where they give none, or where the budget ended first."""
    ours: Sequence[float | None]
    """[seed]; None where the budget ended first. Censored, not left out."""
    scale: str
    """At which ours was run: full, laptop, or nothing."""
    digits: int = 3
    """Decimal places that mean something."""
    tolerance: float | None = None
    """How far theirs may be off, as it was read off a figure, in its unit; None where that is not known."""
    fitted: bool = False
    """Whether our settings were chosen by this number: then an agreement is no prediction."""
    note: str = ""
    """What else a reader of the row has to know."""

    @property
    def middle(self) -> float | None:
        """The mean of our seeds; None if there are none, or one of them is censored."""
        known = [value for value in self.ours if value is not None]
        return float(np.mean(known)) if known and len(known) == len(self.ours) else None

    @property
    def difference(self) -> float | None:
        """Ours less theirs, where both are known."""
        return None if self.theirs is None or self.middle is None else self.middle - self.theirs


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and what our records say to it."""

    text: str
    verdict: Verdict
    why: str
    cell: str | None = None
    """In a comparison of architectures, the cell that the claim is about; None if it is about all cells."""
    ours: bool = False
    """Whether it is a control or a question of ours, not a claim of the paper."""


@dataclass(frozen=True)
class Table:
    """A table of a study's own, for its page."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    """By row and column, text; it is escaped where it is written."""
    note: str = ""
    """What a reader has to know: how the numbers were made."""
