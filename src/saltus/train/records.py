"""What a run recorded: a table for each measure, snapshots of attention and influence, and its curves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.curves import Curves, Rule, gather_curves
from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.storage.tables import Arrays
from saltus.tasks.base import TaskFacts
from saltus.train.measures import AXES_NOTE, KEY, MEASURES

WHOLE = "whole task"
"""The unit that is there where all units of a task are there at once."""


def _no_influence() -> NDArray[np.float32]:
    return np.zeros((0, 0, 0, 0), np.float32)


@dataclass(frozen=True)
class Snapshots:
    """What the models look at, at some steps: attention, influence, or both."""

    steps: NDArray[np.int64]
    """[snapshot]"""
    attention: NDArray[np.float16]
    """[snapshot, seed, layer, head, scored query, key] mean over the evaluation sequences; no layer where it is not
    measured."""
    influence: NDArray[np.float32] = field(default_factory=_no_influence)
    """[snapshot, seed, query, key] how far each token moves each prediction, from 0 to 1 (`train.influence`); no
    snapshot where it was not asked for."""

    def to_arrays(self) -> Arrays:
        """As named arrays; attention has the name that version 0.1 gave it."""
        return {"steps": self.steps, "patterns": self.attention, "influence": self.influence}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Snapshots":
        """The inverse of `to_arrays`."""
        return cls(arrays["steps"], arrays["patterns"], arrays.get("influence", _no_influence()))

    def last_influence(self) -> "Snapshots":
        """The last snapshot of influence, if there is any, and no attention."""
        last = slice(-1, None) if len(self.influence) else slice(0, 0)
        return Snapshots(self.steps[last], self.attention[last, :, :0], self.influence[last])

    @classmethod
    def none(cls) -> "Snapshots":
        """No snapshot."""
        return cls(np.zeros(0, np.int64), np.zeros((0, 0, 0, 0, 0, 0), np.float16))


@dataclass(frozen=True)
class RunRecords:
    """Everything that a run recorded, finished or not."""

    path: Path
    spec: RunSpec
    facts: TaskFacts
    tables: Mapping[str, pa.Table]
    """By the name of its measure."""
    snapshots: Snapshots
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
        return [int(seed) for seed in np.unique(self.tables["steps"]["seed"].to_numpy())]

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
        [seed, evaluation, layer, head, unit] of `heads`.

        Raises:
            SaltusError: if there is no such table or column.

        """
        if table not in self.tables or column not in self.tables[table].column_names:
            there = self.tables[table].column_names if table in self.tables else list(self.tables)
            raise SaltusError(
                f"{self.path} has no {table}.{column}; there are {', '.join(name for name in there if name not in KEY)}"
            )
        data = self.tables[table]
        keys = [*KEY, *list_axes(data)]
        shape = tuple(len(np.unique(data[key].to_numpy())) for key in keys)
        order = np.lexsort([data[key].to_numpy() for key in reversed(keys)])
        return data[column].to_numpy()[order].reshape(shape).astype(np.float64)

    @cached_property
    def diverged(self) -> dict[str, int]:
        """By the name of a seed, the first evaluated step from which on no loss was finite; seeds that did not lack."""
        losses, steps = self.cube("units", "loss"), self.evaluated_steps
        ends = [int(np.flatnonzero([True, *np.isfinite(seed).all(axis=1)])[-1]) for seed in losses]  # after the last
        return {str(seed): int(steps[end]) for seed, end in zip(self.seeds, ends, strict=True) if end < len(steps)}

    @cached_property
    def curves(self) -> Curves:
        """The progress of every unit of every seed, and of the whole task, which is that of its last unit.

        The whole task is there where all its units are there at once, hence the least progress over the units: a mean
        of 0.95 admits 15 of 16 rows.
        """
        progress = self.cube("units", "progress")
        both = np.concatenate([progress, progress.min(axis=2, keepdims=True)], axis=2)
        seeds = [str(seed) for seed in self.seeds]
        units = [*self.facts.units, WHOLE]
        steps, diverged = self.evaluated_steps, self.diverged
        found = gather_curves(self.spec.name, seeds, units, steps, both, chance=0.0, ceiling=1.0, diverged=diverged)
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
        seeds = [str(seed) for seed in self.seeds]
        found = gather_curves(self.spec.name, seeds, [column], self.evaluated_steps, values, diverged=self.diverged)
        return Curves(found, column, rule)

    def of(self, spec: RunSpec) -> "RunRecords":
        """The same records under the description by which they were asked for, which may differ in name and rule."""
        return replace(self, spec=spec, rule=state_rule(spec))

    def select(self, tables: Mapping[str, pa.Table], snapshots: Snapshots) -> "RunRecords":
        """The same run with these tables and snapshots alone."""
        return replace(self, tables=tables, snapshots=snapshots)

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


def join_snapshots(parts: Sequence[Snapshots]) -> Snapshots:
    """Snapshots of one run one after the other."""
    arrays = [part.to_arrays() for part in parts]
    return Snapshots.from_arrays({key: np.concatenate([part[key] for part in arrays]) for key in arrays[0]})


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
    return arrays, notes


def facts_from_arrays(arrays: Arrays, notes: dict[str, str]) -> TaskFacts:
    """The inverse of `facts_to_arrays`."""
    return TaskFacts(
        symbols=int(notes["symbols"]),
        length=int(notes["length"]),
        units=tuple(json.loads(notes["units"])),
        corners=tuple(json.loads(notes["corners"])),
        **arrays,
    )
