"""What a scan measured, arranged as its figures want it: by capability, size and seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.lm.records import ScanRecords
from saltus.measure.scans import SizeSummary, Unit, UnitEmergence, find_scan_emergences, summarise_sizes


@dataclass(frozen=True)
class SeedTrace:
    """One seed of a size on the prompts of one capability; empty where no checkpoint could be measured."""

    seed: str
    steps: NDArray[np.int64]
    """[checkpoint] measured steps, increasing."""
    probability: NDArray[np.float64]
    """[checkpoint] of the target, mean over the prompts."""
    margin: NDArray[np.float64]
    """[checkpoint] in nats, mean over the prompts with a foil; NaN without any."""
    units: tuple[UnitEmergence, ...]
    """[unit] the prompts, and last the set; empty without a measured checkpoint."""

    @property
    def whole(self) -> UnitEmergence | None:
        """When the set emerged; None without a measured checkpoint."""
        return self.units[-1] if self.units else None


@dataclass(frozen=True)
class PromptText:
    """One prompt as a person reads it."""

    number: int
    text: str
    target: str


@dataclass(frozen=True)
class CapabilityTraces:
    """One capability over all runs."""

    name: str
    prompts: tuple[PromptText, ...]
    sizes: tuple[SizeSummary, ...]
    """[size] of the set."""
    traces: tuple[tuple[SeedTrace, ...], ...]
    """[size][seed]"""

    @property
    def emerged(self) -> int:
        """Runs in which it did."""
        return sum(size.emerged for size in self.sizes)

    @property
    def measured(self) -> int:
        """Runs with at least one measured checkpoint."""
        return sum(size.emerged + size.censored for size in self.sizes)

    def has_margin(self, size: int) -> bool:
        """Whether any seed of the size with this index was measured against foils."""
        return any(bool(np.isfinite(trace.margin).any()) for trace in self.traces[size])


@dataclass(frozen=True)
class ScanSummary:
    """What a scan measured."""

    suite: str
    finished: bool
    threshold: float
    """Share of right prompts with which a set is there."""
    sizes: tuple[str, ...]
    capabilities: tuple[CapabilityTraces, ...]
    end: int
    """The last step that any run lists."""
    runs: int
    listed: int
    """Checkpoints that the suite lists."""
    measured: int
    """Checkpoints that were measured."""


@dataclass(frozen=True)
class UnitNumbers:
    """Every number about one unit of one run."""

    found: UnitEmergence
    first: float
    """Probability of the target at the first measured checkpoint; of a set the mean over its prompts."""
    last: float
    """The same at the last measured checkpoint."""
    measured: int
    """Checkpoints of the run that were measured."""


@dataclass(frozen=True)
class MissingCheckpoint:
    """A checkpoint that was asked for and could not be measured."""

    size: str
    seed: str
    step: int
    reason: str
    widened: str
    """The units whose interval it lies in, such as `copying and 3 of its prompts`; empty if there is none."""


def summarise_scan(records: ScanRecords) -> ScanSummary:
    """Every capability's traces and emergences."""
    runs = records.runs.to_pylist()
    sizes = tuple(dict.fromkeys(run["size"] for run in runs))
    names = tuple(dict.fromkeys(records.prompts["capability"].to_pylist()))
    emergences: dict[tuple[str, str, str], list[UnitEmergence]] = {}
    for found in find_scan_emergences(records):
        emergences.setdefault((found.size, found.seed, found.unit.capability), []).append(found)
    means = _average_prompts(records.probes)
    empty = (np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))

    def trace(size: str, seed: str, name: str) -> SeedTrace:
        key = (size, seed, name)
        return SeedTrace(seed, *means.get(key, empty), units=tuple(emergences.get(key, [])))

    prompts = records.prompts.to_pylist()
    return ScanSummary(
        suite=records.spec.suite,
        finished=records.finished,
        threshold=records.spec.threshold,
        sizes=sizes,
        capabilities=tuple(
            CapabilityTraces(
                name=name,
                prompts=tuple(
                    PromptText(row["prompt"], row["text"], row["target"])
                    for row in prompts
                    if row["capability"] == name
                ),
                sizes=tuple(summarise_sizes(records, Unit(name))),
                traces=tuple(
                    tuple(trace(size, run["seed"], name) for run in runs if run["size"] == size) for size in sizes
                ),
            )
            for name in names
        ),
        end=max((step for run in runs for step in run["steps"]), default=0),
        runs=len(runs),
        listed=sum(len(run["steps"]) for run in runs),
        measured=_count_checkpoints(records.probes),
    )


def list_unit_numbers(records: ScanRecords, summary: ScanSummary) -> list[UnitNumbers]:
    """One row for each run, capability, and its set and prompts."""
    keys = ["size", "seed", "capability", "prompt"]
    ends = (
        records.probes.sort_by("step")
        .group_by(keys, use_threads=False)
        .aggregate([("probability", "first"), ("probability", "last"), ("step", "count")])
    )
    columns = [ends[name].to_pylist() for name in (*keys, "probability_first", "probability_last", "step_count")]
    by_prompt = {tuple(row[:4]): row[4:] for row in zip(*columns, strict=True)}
    numbers: list[UnitNumbers] = []
    for size, name in enumerate(summary.sizes):
        for capability in summary.capabilities:
            for trace in capability.traces[size]:
                for found in (*trace.units[-1:], *trace.units[:-1]):
                    if found.unit.prompt is None:
                        row = (trace.probability[0], trace.probability[-1], len(trace.steps))
                    else:
                        row = by_prompt[name, trace.seed, capability.name, found.unit.prompt]
                    numbers.append(UnitNumbers(found, float(row[0]), float(row[1]), row[2]))
    return numbers


def list_missing(records: ScanRecords, summary: ScanSummary) -> list[MissingCheckpoint]:
    """Each with the units that it leaves less certain."""
    units: dict[tuple[str, str], list[UnitEmergence]] = {}
    for capability in summary.capabilities:
        for size, traces in zip(summary.sizes, capability.traces, strict=True):
            for trace in traces:
                units.setdefault((size, trace.seed), []).extend(trace.units)
    return [
        MissingCheckpoint(**row, widened=_name_widened(units.get((row["size"], row["seed"]), []), row["step"]))
        for row in records.missing.to_pylist()
    ]


def _name_widened(units: Sequence[UnitEmergence], step: int) -> str:
    widened = [found.unit for found in units if step in found.missing]
    parts: list[str] = []
    for name in dict.fromkeys(unit.capability for unit in widened):
        prompts = sum(unit.capability == name and unit.prompt is not None for unit in widened)
        some = f"{prompts} prompt{'' if prompts == 1 else 's'}" if prompts else ""
        if Unit(name) in widened:
            parts.append(f"{name} and {some} of it" if some else name)
        else:
            parts.append(f"{some} of {name}")
    return "; ".join(parts)


def _average_prompts(
    probes: pa.Table,
) -> dict[tuple[str, str, str], tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
    """Steps, mean probability and mean margin, each [checkpoint], by size, seed and capability."""
    known = pa.array(probes["margin"].to_numpy(), from_pandas=True)  # NaN becomes null, which a mean leaves out
    keys = ["size", "seed", "capability", "step"]
    means = (
        probes.set_column(probes.schema.get_field_index("margin"), "margin", known)
        .group_by(keys, use_threads=False)
        .aggregate([("probability", "mean"), ("margin", "mean")])
        .sort_by("step")
    )
    rows: dict[tuple[str, str, str], list[tuple[int, float, float]]] = {}
    for size, seed, name, step, probability, margin in zip(
        *(means[column].to_pylist() for column in (*keys, "probability_mean", "margin_mean")), strict=True
    ):
        values = (step, probability, np.nan if margin is None else margin)
        rows.setdefault((size, seed, name), []).append(values)
    averaged = {key: np.array(values, dtype=np.float64).T for key, values in rows.items()}
    return {key: (columns[0].astype(np.int64), columns[1], columns[2]) for key, columns in averaged.items()}


def _count_checkpoints(probes: pa.Table) -> int:
    return len(probes.group_by(["size", "seed", "step"]).aggregate([]))
