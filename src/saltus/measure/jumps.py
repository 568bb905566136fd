"""Where a curve jumps: its largest rise between two neighbouring evaluations, such as the pair to patch across."""

from dataclasses import dataclass

import numpy as np

from saltus.curves import Curve, Curves, Key


@dataclass(frozen=True)
class Jump:
    """The largest rise of one curve between two neighbouring evaluations."""

    key: Key
    before: int
    """Step of the evaluation before the rise."""
    after: int
    """Step of the next one."""
    height: float
    """Change of the value between the two."""


def find_jump(curve: Curve) -> Jump | None:
    """The jump of one curve, the first of several that are equal; None where it never rises.

    Evaluations at which nothing was measured are passed over.
    """
    known = ~np.isnan(curve.values)
    steps, rises = curve.steps[known], np.diff(curve.values[known])
    if not len(rises) or rises.max() <= 0:
        return None
    i = int(rises.argmax())
    return Jump(curve.key, int(steps[i]), int(steps[i + 1]), float(rises[i]))


def find_largest_jump(curves: Curves) -> Jump | None:
    """Of all curves the jump with the largest change; None where none rises."""
    jumps = [jump for jump in map(find_jump, curves) if jump]
    return max(jumps, key=lambda jump: jump.height, default=None)
