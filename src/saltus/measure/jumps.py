"""Where a capability's mean target probability jumps: the pair of checkpoints to patch across."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from saltus.lm.records import ScanRecords


@dataclass(frozen=True)
class Jump:
    """The largest rise of one run between two neighbouring measured checkpoints."""

    size: str
    seed: str
    before: int
    """Step of the checkpoint before the rise."""
    after: int
    """Step of the next measured one."""
    height: float
    """Change of the mean target probability between the two."""


def find_jump(records: ScanRecords, size: str, seed: str, capability: str) -> Jump | None:
    """The jump of one run; None where the mean target probability never rises."""
    probes = records.probes
    chosen = probes.filter(
        (pc.field("size") == size) & (pc.field("seed") == seed) & (pc.field("capability") == capability)
    )
    at, values = chosen["step"].to_numpy(), chosen["probability"].to_numpy()
    steps = np.unique(at)
    rises = np.diff([values[at == step].mean() for step in steps])
    if not len(rises) or rises.max() <= 0:
        return None
    i = int(rises.argmax())
    return Jump(size, seed, int(steps[i]), int(steps[i + 1]), float(rises[i]))


def find_largest_jump(records: ScanRecords, capability: str) -> Jump | None:
    """Of all runs the jump with the largest change; None where no run has one."""
    runs = records.runs.select(["size", "seed"]).to_pylist()
    jumps = [find_jump(records, run["size"], run["seed"], capability) for run in runs]
    return max((jump for jump in jumps if jump), key=lambda jump: jump.height, default=None)
