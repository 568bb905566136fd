"""Which of two things came first, seed by seed, as far as their intervals tell, and by how many steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saltus.curves import Emergence


@dataclass(frozen=True)
class Precedence:
    """How often the first of two things came before the second."""

    before: int
    """Seeds in which the first was there at the latest where the second was still absent."""
    after: int
    """Seeds in which the second was there at the latest where the first was still absent."""
    untold: int
    """Seeds whose intervals overlap, so that the order is not known."""
    neither: int
    """Seeds in which neither came."""
    leads: tuple[int, ...]
    """[seed with both] steps from the first evaluation with the first to that with the second, increasing."""

    @property
    def seeds(self) -> int:
        """All of them."""
        return self.before + self.after + self.untold + self.neither

    @property
    def median_lead(self) -> float | None:
        """In steps, over the seeds in which both came; None if there is none."""
        return float(np.median(self.leads)) if self.leads else None


def compare_order(first: Sequence[Emergence], second: Sequence[Emergence]) -> Precedence:
    """Of two units, in the runs that both lists have; a run is a group and a seed.

    Both ends are known to the evaluation alone: (after, by] of the one lies before (after, by] of the other where its
    right end is no later than the other's left end.
    """
    others = {emergence.key[:2]: emergence for emergence in second}
    pairs = [(one, others[one.key[:2]]) for one in first if one.key[:2] in others]
    before = after = untold = neither = 0
    for one, other in pairs:
        if one.by is None and other.by is None:
            neither += 1
        elif one.by is not None and one.by <= other.after:
            before += 1
        elif other.by is not None and other.by <= one.after:
            after += 1
        else:
            untold += 1
    leads = [other.by - one.by for one, other in pairs if one.by is not None and other.by is not None]
    return Precedence(before, after, untold, neither, tuple(sorted(leads)))
