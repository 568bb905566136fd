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
    """The jump of one curve; None where it never rises."""
    rises = np.diff(curve.values)
    if not len(rises) or not rises.max() > 0:
        return None
    i = int(rises.argmax())
    return Jump(curve.key, int(curve.steps[i]), int(curve.steps[i + 1]), float(rises[i]))


def find_largest_jump(curves: Curves) -> Jump | None:
    """Of all curves the jump with the largest change; None where none rises."""
    jumps = [jump for jump in map(find_jump, curves) if jump]
    return max(jumps, key=lambda jump: jump.height, default=None)
