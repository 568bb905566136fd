"""When capabilities emerged in the runs of a scan, from the checkpoints that it measured and from nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from saltus.lm.records import ScanRecords
from saltus.measure.emergence import Emergence, find_emergence
from saltus.measure.survival import SurvivalCurve, estimate_survival, times_of
from saltus.specs import EmergenceSpec

EMERGENCE_TABLE = pa.schema(
    [
        ("size", pa.string()),
        ("seed", pa.string()),
        ("capability", pa.string()),
        ("prompt", pa.int32()),  # null for the capability as a set
        ("after", pa.int32()),  # last measured step without; -1 if none was
        ("by", pa.int32()),  # first measured step with; null if censored
        ("lost", pa.int32()),  # first measured step without after `by`; null if it was never lost
        ("missing", pa.list_(pa.int32())),  # steps within the interval that could not be measured
    ]
)


@dataclass(frozen=True)
class Unit:
    """What emerges in a scan: one prompt, or the set of a capability's prompts."""

    capability: str
    prompt: int | None = None
    """None for the set, which is there where the share of right prompts reaches the threshold of the scan."""


@dataclass(frozen=True)
class UnitEmergence:
    """When one unit emerged in one run."""

    size: str
    seed: str
    unit: Unit
    emergence: Emergence
    """As bracketed by measured checkpoints, one success being enough; censored at the last measured step without."""
    missing: tuple[int, ...]
    """Steps inside the interval, or after a censored one, that could not be measured: it is so much wider."""


@dataclass(frozen=True)
class SizeSummary:
    """When one unit emerged in the seeds of one size. Seeds without a measured checkpoint say nothing."""

    size: str
    unit: Unit
    emerged: int
    """Seeds in which it did."""
    censored: int
    """Seeds in which it had not by the last measured step."""
    unmeasured: int
    """Seeds of which no checkpoint could be measured."""
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


def find_scan_emergences(records: ScanRecords) -> list[UnitEmergence]:
    """By run, then capability: of each prompt, then of the set. Runs without a measured checkpoint are left out."""
    units = _list_units(records)
    spec = EmergenceSpec(threshold=1.0, hold=1)
    found: list[UnitEmergence] = []
    for row in records.runs.to_pylist():
        size, seed = row["size"], row["seed"]
        steps, there = _trace_units(_select(records.probes, size, seed), units, records.spec.threshold)
        unmeasured = set(_select(records.missing, size, seed)["step"].to_pylist())
        if not len(steps):
            continue
        for unit, flags in zip(units, there.T, strict=True):
            emergence = find_emergence(steps, flags.astype(np.float64), spec)
            end = np.inf if emergence.by is None else emergence.by
            inside = tuple(sorted(step for step in unmeasured if emergence.after < step < end))
            found.append(UnitEmergence(size, seed, unit, emergence, inside))
    return found


def tabulate_emergences(emergences: Sequence[UnitEmergence]) -> pa.Table:
    """One row for each; the columns are `EMERGENCE_TABLE`."""
    rows = [
        {
            "size": found.size,
            "seed": found.seed,
            "capability": found.unit.capability,
            "prompt": found.unit.prompt,
            "after": found.emergence.after,
            "by": found.emergence.by,
            "lost": found.emergence.lost,
            "missing": list(found.missing),
        }
        for found in emergences
    ]
    return pa.Table.from_pylist(rows, schema=EMERGENCE_TABLE)


def summarise_sizes(records: ScanRecords, unit: Unit, level: float = 0.95) -> list[SizeSummary]:
    """One unit over the seeds of each size, in the order of the suite; `level` is that of the bands."""
    found = [emergence for emergence in find_scan_emergences(records) if emergence.unit == unit]
    if not found and unit not in _list_units(records):
        raise ValueError(f"unit is {unit}; the scan has no such prompt or capability")
    runs = records.runs.to_pylist()
    last = max((step for run in runs for step in run["steps"]), default=0)
    return [
        _summarise(
            size,
            unit,
            [emergence.emergence for emergence in found if emergence.size == size],
            seeds=sum(run["size"] == size for run in runs),
            last=last,
            level=level,
        )
        for size in dict.fromkeys(run["size"] for run in runs)
    ]


def find_paper_step(emergence: Emergence, last: int) -> float:
    """The step that the paper plots (arXiv 2606.25010): the middle of the bracketing pair of checkpoints.

    A censored one counts as the suite's last step, 143,000 for Pythia, which makes a mean over seeds too small. One
    that was there at the first measured checkpoint counts as that one. It is for comparison with the paper alone.
    """
    if emergence.by is None:
        return float(last)
    return float(emergence.by) if emergence.after < 0 else (emergence.after + emergence.by) / 2


def _summarise(
    size: str, unit: Unit, emergences: Sequence[Emergence], *, seeds: int, last: int, level: float
) -> SizeSummary:
    emerged = sum(not emergence.censored for emergence in emergences)
    return SizeSummary(
        size=size,
        unit=unit,
        emerged=emerged,
        censored=len(emergences) - emerged,
        unmeasured=seeds - len(emergences),
        paper_mean=float(np.mean([find_paper_step(e, last) for e in emergences])) if emergences else float("nan"),
        curve=estimate_survival(*times_of(emergences), level=level) if emergences else None,
    )


def _list_units(records: ScanRecords) -> list[Unit]:
    """Each capability's prompts, then its set."""
    prompts = records.prompts.select(["capability", "prompt"]).to_pylist()
    units: list[Unit] = []
    for name in dict.fromkeys(prompt["capability"] for prompt in prompts):
        units += [Unit(name, prompt["prompt"]) for prompt in prompts if prompt["capability"] == name]
        units.append(Unit(name))
    return units


def _trace_units(
    probes: pa.Table, units: Sequence[Unit], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Measured steps of one run, increasing [step], and whether each unit was there [step, unit]."""
    steps, row = np.unique(probes["step"].to_numpy().astype(np.int64), return_inverse=True)
    column = {unit: number for number, unit in enumerate(units)}
    names, numbers = probes["capability"].to_pylist(), probes["prompt"].to_pylist()
    there = np.zeros((len(steps), len(units)), dtype=np.bool_)
    places = [column[Unit(name, number)] for name, number in zip(names, numbers, strict=True)]
    there[row, places] = probes["correct"].to_numpy()
    for place, unit in enumerate(units):
        if unit.prompt is None:
            prompts = [
                column[other] for other in units if other.capability == unit.capability and other.prompt is not None
            ]
            there[:, place] = there[:, prompts].mean(1) >= threshold
    return steps, there


def _select(table: pa.Table, size: str, seed: str) -> pa.Table:
    """The rows of one run."""
    return table.filter((pc.field("size") == size) & (pc.field("seed") == seed))


def _find_half(curve: SurvivalCurve, bound: NDArray[np.float64]) -> float | None:
    """First time at which a bound of the curve is at most one half; None if it never is."""
    reached = np.flatnonzero(bound <= 0.5 + 1e-9)
    return float(curve.times[reached[0]]) if len(reached) else None
