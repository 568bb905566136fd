"""What a run recorded: a table for each measure, snapshots of attention and influence, and its curves.

Seeds are trained on their own: one may have stopped before the others, or have been trained for fewer steps.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from saltus.curves import Curve, Curves, Rule, gather_curves
from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.storage.tables import Arrays
from saltus.tasks.base import WHOLE, TaskFacts
from saltus.train.measures import AXES_NOTE, KEY, MEASURES


@dataclass(frozen=True)
class Snapshots:
    """What the models look at, at some steps: attention, influence, or both."""

    steps: NDArray[np.int64]
    """[snapshot]"""
    attention: NDArray[np.float16]
    """[snapshot, seed, layer, head, scored query, key] mean over the evaluation sequences; no layer where it is not
    measured."""
    influence: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 0, 0), np.float32))
    """[snapshot, seed, query, key] how far each token moves each prediction, from 0 to 1 (`train.influence`); no
    snapshot where it was not asked for."""


@dataclass(frozen=True)
class SnapshotRows:
    """Snapshots as they are kept: one row for each seed and step, because seeds may stop at different steps."""

    steps: NDArray[np.int64]
    """[row]"""
    seeds: NDArray[np.int64]
    """[row]"""
    attention: NDArray[np.float16]
    """[row, layer, head, scored query, key] as in `Snapshots`."""
    influence: NDArray[np.float32]
    """[row, query, key] as in `Snapshots`; no row where it was not asked for."""

    @classmethod
    def none(cls) -> "SnapshotRows":
        """No snapshot."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, np.zeros((0, 0, 0, 0, 0), np.float16), np.zeros((0, 0, 0), np.float32))

    @classmethod
    def of(cls, snapshots: Snapshots) -> "SnapshotRows":
        """The rows of seeds 0, 1, ... that were all kept at the same steps."""
        number, seeds = snapshots.attention.shape[:2]
        attention, influence = snapshots.attention, snapshots.influence
        return cls(
            np.repeat(snapshots.steps, seeds),
            np.tile(np.arange(seeds), number),
            attention.reshape(number * seeds, *attention.shape[2:]),
            influence.reshape(len(influence) * seeds, *influence.shape[2:]),
        )

    def to_arrays(self) -> Arrays:
        """As named arrays; attention has the name that version 0.1 gave it."""
        return {"steps": self.steps, "seeds": self.seeds, "patterns": self.attention, "influence": self.influence}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "SnapshotRows":
        """The inverse of `to_arrays`; versions before kept an axis of seeds instead."""
        if "seeds" not in arrays:
            given = {"influence": arrays["influence"]} if "influence" in arrays else {}
            return cls.of(Snapshots(arrays["steps"], arrays["patterns"], **given))
        return cls(arrays["steps"], arrays["seeds"], arrays["patterns"], arrays["influence"])

    def keep(self, kept: NDArray[Any]) -> "SnapshotRows":
        """The rows at these places, or where this is true."""
        influence = self.influence[kept] if len(self.influence) else self.influence
        return SnapshotRows(self.steps[kept], self.seeds[kept], self.attention[kept], influence)

    def last_influence(self) -> "SnapshotRows":
        """The last snapshot of influence of each seed, if there is any, and no attention."""
        last = [np.flatnonzero(self.seeds == seed)[-1] for seed in np.unique(self.seeds)] if len(self.influence) else []
        rows = self.keep(np.array(last, dtype=np.int64))
        return replace(rows, attention=rows.attention[:, :0])

    def align(self) -> Snapshots:
        """Snapshots of all seeds together.

        A seed that has stopped, or was asked for fewer steps than others, keeps its last snapshot. The steps are those
        at which every seed has a snapshot or has come to its end.
        """
        seeds = np.unique(self.seeds)
        own = [np.flatnonzero(self.seeds == seed) for seed in seeds]
        steps = np.unique(self.steps)
        known = [np.isin(steps, self.steps[rows]) | (steps > self.steps[rows[-1]]) for rows in own]
        steps = steps[np.all(known, axis=0)] if known else steps
        places = [rows[np.searchsorted(self.steps[rows], steps, side="right") - 1] for rows in own]
        at = np.array(places, dtype=np.int64).reshape(len(seeds), len(steps)).T  # [snapshot, seed]
        influence = self.influence[at] if len(self.influence) else np.zeros((0, 0, 0, 0), np.float32)
        return Snapshots(steps, self.attention[at], influence)


@dataclass(frozen=True)
class RunRecords:
    """Everything that a run recorded, finished or not."""

    path: Path
    spec: RunSpec
    facts: TaskFacts
    tables: Mapping[str, pa.Table]
    """By the name of its measure."""
    kept: SnapshotRows
    summary: Mapping[str, Any] | None
    """Versions, machine, duration; None while the run is not finished."""
    rule: Rule
    """The rule by which the curves are read: that of the description, unless another one was asked for."""

    @property
    def finished(self) -> bool:
        """Whether the run is done."""
        return self.summary is not None

    @cached_property
    def evaluated_steps(self) -> NDArray[np.int64]:
        """[evaluation] the steps that were evaluated, increasing."""
        return np.unique(self.tables["steps"]["step"].to_numpy()).astype(np.int64)

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds, in the order of the axis of `cube`."""
        return list(self.last_steps)

    @cached_property
    def last_steps(self) -> dict[int, int]:
        """By seed, the last step that was evaluated."""
        seeds, steps = (self.tables["steps"][name].to_numpy() for name in KEY)
        return {int(seed): int(steps[seeds == seed].max()) for seed in np.unique(seeds)}

    @cached_property
    def snapshots(self) -> Snapshots:
        """Snapshots of all seeds together: `SnapshotRows.align`."""
        return self.kept.align()

    @property
    def future_influence(self) -> float | None:
        """The most that any token moved a prediction before it, over seeds, at the end; None if it was not measured."""
        influence = self.snapshots.influence
        return float(np.triu(influence[-1], 1).max()) if len(influence) else None

    @property
    def measured_attention(self) -> bool:
        """Whether there are measures of heads: not where there is no attention, or where it was not asked for."""
        return len(self.tables["heads"]) > 0

    def cube(self, table: str, column: str) -> NDArray[np.float64]:
        """A column of a table as an array [seed, evaluation, *axes], the axes being those of its measure.

        [seed, evaluation] of `steps`, [seed, evaluation, unit] of `units`, [seed, evaluation, query] of `positions`,
        [seed, evaluation, layer, head, unit] of `heads`. A seed that has stopped, or was asked for fewer steps than
        others, keeps its last values; `last_steps` says from when on. NaN is what was not measured.

        Raises:
            SaltusError: if there is no such table or column.

        """
        if table not in self.tables or column not in self.tables[table].column_names:
            there = self.tables[table].column_names if table in self.tables else list(self.tables)
            raise SaltusError(
                f"{self.path} has no {table}.{column}; there are {', '.join(name for name in there if name not in KEY)}"
            )
        data, steps = self.tables[table], self.evaluated_steps
        axes = [np.unique(data[axis].to_numpy(), return_inverse=True) for axis in list_axes(data)]
        shape = tuple(len(places) for places, _ in axes)
        if not len(data):
            return np.zeros((0, 0, *shape))
        seed, step = (data[key].to_numpy() for key in KEY)
        cube = np.full((len(self.seeds), len(steps), *shape), np.nan)
        at = (np.searchsorted(self.seeds, seed), np.searchsorted(steps, step), *(place for _, place in axes))
        cube[at] = data[column].to_numpy()
        for own, last in zip(cube, self.last_steps.values(), strict=True):
            own[steps > last] = own[steps == last]
        return cube

    @cached_property
    def diverged(self) -> dict[str, int]:
        """By the name of a seed, the first evaluated step from which on no loss was finite; seeds that did not lack."""
        if not len(self.tables["units"]):
            return {}
        finite, steps = np.isfinite(self.cube("units", "loss")), self.evaluated_steps
        if not finite.any():  # it was not recorded
            finite = np.isfinite(self.cube("units", "progress"))
        ends = [int(np.flatnonzero([True, *seed.all(axis=1)])[-1]) for seed in finite]  # after the last
        return {str(seed): int(steps[end]) for seed, end in zip(self.seeds, ends, strict=True) if end < len(steps)}

    @cached_property
    def curves(self) -> Curves:
        """The progress of every unit of every seed, and of the whole task, which is that of its last unit.

        The whole task is there where all its units are there at once, hence the least progress over the units: a mean
        of 0.95 admits 15 of 16 rows.
        """
        progress = self.cube("units", "progress")
        both = np.concatenate([progress, progress.min(axis=2, keepdims=True)], axis=2)
        found = self._gather([*self.facts.units, WHOLE], both, chance=0.0, ceiling=1.0)
        return Curves(found, "progress", self.rule, whole=WHOLE)

    def curves_of(self, column: str, rule: Rule) -> Curves:
        """A column of the table `steps`, one curve for each seed, read by a rule.

        Raises:
            SaltusError: if the records are of a version that did not record it.

        """
        values = self.cube("steps", column)[:, :, None]
        if np.isnan(values).all():
            raise SaltusError(
                f"the records of {self.spec.name} do not say {column}, as version 0.1 or before made them; leave them "
                "where they are, and run the study again in another folder"
            )
        return Curves(self._gather([column], values), column, rule)

    def curves_of_units(self, column: str, name: str) -> Curves:
        """A column of the table `units`, by the name that people read: one curve for each seed and unit.

        None where the records are of a version that did not record it.
        """
        there = column in self.tables["units"].column_names
        found = self._gather(self.facts.units, self.cube("units", column)) if there else ()
        return Curves(found, name, self.rule)

    def _gather(self, units: Sequence[str], values: NDArray[np.float64], **levels: float) -> tuple[Curve, ...]:
        """Curves of values [seed, evaluation, unit], each as far as its seed was trained."""
        curves: list[Curve] = []
        for place, (seed, last) in enumerate(self.last_steps.items()):
            steps = self.evaluated_steps[self.evaluated_steps <= last]
            own = values[place : place + 1, : len(steps)]
            curves += gather_curves(self.spec.name, [str(seed)], units, steps, own, diverged=self.diverged, **levels)
        return tuple(curves)

    def of(self, spec: RunSpec) -> "RunRecords":
        """The same records under the description by which they were asked for.

        It may differ in name and rule, and have fewer seeds and steps: the others are left out.
        """
        seeds, steps = spec.seeds, spec.training.steps
        wanted = (pc.field("seed") < seeds) & (pc.field("step") <= steps)
        return replace(
            self,
            spec=spec,
            rule=state_rule(spec),
            tables={name: table.filter(wanted) for name, table in self.tables.items()},
            kept=self.kept.keep((self.kept.seeds < seeds) & (self.kept.steps <= steps)),
        )

    def select(self, tables: Mapping[str, pa.Table], kept: SnapshotRows) -> "RunRecords":
        """The same run with these tables and snapshots alone."""
        return replace(self, tables=tables, kept=kept)

    def reread(self, rule: Rule) -> "RunRecords":
        """The same records, read by another rule."""
        return replace(self, rule=rule)


def state_rule(spec: RunSpec) -> Rule:
    """The rule that a run's description states."""
    return Rule(above=spec.emergence.threshold, hold=spec.emergence.hold)


def list_axes(table: pa.Table) -> list[str]:
    """The axes of a measure's table, after seed and step."""
    notes = table.schema.metadata or {}
    if AXES_NOTE in notes:
        return notes[AXES_NOTE].decode().split()
    known = {axis for measure in MEASURES for axis in measure.axes}  # version 0.1 wrote no note
    return [name for name in table.column_names if name in known]


def join_snapshots(parts: Sequence[SnapshotRows]) -> SnapshotRows:
    """All rows, by step and seed."""
    arrays = [part.to_arrays() for part in parts]
    # Where nothing was kept, versions before wrote no axes either.
    some = {key: [part[key] for part in arrays if len(part[key])] or [arrays[0][key]] for key in arrays[0]}
    joined = SnapshotRows.from_arrays({key: np.concatenate(values) for key, values in some.items()})
    return joined.keep(np.lexsort((joined.seeds, joined.steps)))


def add_lacking(
    rows: tuple[Mapping[str, pa.Table], SnapshotRows], former: tuple[Mapping[str, pa.Table], SnapshotRows]
) -> tuple[dict[str, pa.Table], SnapshotRows]:
    """Tables and snapshots by step and seed, with the former ones of seeds and steps that these have not evaluated."""
    (tables, snapshots), (before, kept) = rows, former
    there = set(zip(*(tables["steps"][key].to_pylist() for key in KEY), strict=True))

    def lacks(seeds: Iterable[int], steps: Iterable[int]) -> NDArray[np.bool_]:
        return np.array([run not in there for run in zip(seeds, steps, strict=True)], dtype=np.bool_)

    joined = dict(tables)
    for name, table in before.items():
        more = table.filter(pa.array(lacks(*(table[key].to_pylist() for key in KEY))))
        both = pa.concat_tables([more, tables[name]]) if name in tables else more
        joined[name] = both.sort_by([("step", "ascending"), ("seed", "ascending")])
    return joined, join_snapshots([snapshots, kept.keep(lacks(kept.seeds.tolist(), kept.steps.tolist()))])


def facts_to_arrays(facts: TaskFacts) -> tuple[Arrays, dict[str, str]]:
    """Task facts as arrays and string metadata, as safetensors keeps them."""
    arrays: Arrays = {
        "unit_of_query": facts.unit_of_query,
        "truth": facts.truth,
        "candidates": facts.candidates,
        "chance_loss": facts.chance_loss,
        "floor_loss": facts.floor_loss,
    }
    if facts.varying is not None:
        arrays["varying"] = facts.varying
    notes = {
        "symbols": str(facts.symbols),
        "length": str(facts.length),
        "units": json.dumps(facts.units),
        "corners": json.dumps(facts.corners),
    }
    if facts.reordered:
        notes["reordered"] = "true"
    return arrays, notes


def facts_from_arrays(arrays: Arrays, notes: dict[str, str]) -> TaskFacts:
    """The inverse of `facts_to_arrays`."""
    return TaskFacts(
        symbols=int(notes["symbols"]),
        length=int(notes["length"]),
        units=tuple(json.loads(notes["units"])),
        corners=tuple(json.loads(notes["corners"])),
        reordered="reordered" in notes,
        **arrays,
    )
