"""Where a capability's mean target probability jumps: the pair of checkpoints to patch across."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from saltus.lm.records import ScanRecords

_LOW, _HIGH = 0.25, 0.75
"""Shares of the way from the least to the largest mean probability between which a run is in its jump."""


@dataclass(frozen=True)
class Jump:
    """A jump of one run."""

    size: str
    seed: str
    before: int
    """Last measured step at no more than a quarter of the way up."""
    after: int
    """First measured step from there on at three quarters of it or more."""
    height: float
    """Change of the mean target probability between the two."""


def find_jump(records: ScanRecords, size: str, seed: str, capability: str) -> Jump | None:
    """The first rise of one run's mean target probability from a quarter to three quarters of its way; None if flat."""
    probes = records.probes
    chosen = probes.filter(
        (pc.field("size") == size) & (pc.field("seed") == seed) & (pc.field("capability") == capability)
    )
    if not len(chosen):
        return None
    at, values = chosen["step"].to_numpy(), chosen["probability"].to_numpy()
    steps = np.unique(at)
    mean = np.array([values[at == step].mean() for step in steps])
    way = (mean - mean.min()) / np.ptp(mean) if np.ptp(mean) else np.zeros_like(mean)
    high = np.flatnonzero((way >= _HIGH) & (np.arange(len(way)) > way.argmin()))
    if not len(high):
        return None
    last = int(high[0])
    first = int(np.flatnonzero(way[:last] <= _LOW)[-1])
    return Jump(size, seed, int(steps[first]), int(steps[last]), float(mean[last] - mean[first]))


def find_largest_jump(records: ScanRecords, capability: str) -> Jump | None:
    """Of all runs the jump with the largest change; None where no run has one."""
    runs = records.runs.select(["size", "seed"]).to_pylist()
    jumps = [find_jump(records, run["size"], run["seed"], capability) for run in runs]
    return max((jump for jump in jumps if jump), key=lambda jump: jump.height, default=None)
