"""The schemas of what crosses stages: tables (Parquet) and arrays (safetensors), with units and shapes.

Every row is one observation. `seed` and `step` are integers; a `step` counts updates, 0 being initialisation.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.specs import RunSpec
from saltus.tasks.base import TaskFacts

_KEY = [("seed", pa.int32()), ("step", pa.int32())]

TABLES: dict[str, pa.Schema] = {
    # One row for each seed and evaluation. Losses in nats for each prediction.
    "steps": pa.schema(
        [
            *_KEY,
            ("train_loss", pa.float64()),  # mean of the batches since the evaluation before; NaN at step 0
            ("lowest_train_loss", pa.float64()),  # the smallest of a single one of them; infinite at step 0
            ("loss", pa.float64()),  # on the evaluation sequences, over the whole sequence
            ("scored_loss", pa.float64()),  # over the scored queries alone
            ("accuracy", pa.float64()),  # over the scored queries
            ("exact_units", pa.int32()),  # units with no error on any evaluation sequence
            ("exact_sequences", pa.float64()),  # share of sequences with every scored token right
        ]
    ),
    # One row for each seed, evaluation and unit.
    "units": pa.schema(
        [
            *_KEY,
            ("unit", pa.int32()),
            ("loss", pa.float64()),
            ("accuracy", pa.float64()),
            ("target_probability", pa.float64()),
            ("progress", pa.float64()),  # share of the way from chance to floor loss
        ]
    ),
    # One row for each seed, evaluation and query, scored or not.
    "positions": pa.schema([*_KEY, ("query", pa.int32()), ("loss", pa.float64()), ("accuracy", pa.float64())]),
    # One row for each seed, evaluation, head and unit.
    "heads": pa.schema(
        [
            *_KEY,
            ("layer", pa.int32()),
            ("head", pa.int32()),
            ("unit", pa.int32()),
            ("entropy", pa.float32()),  # nats, over the candidate keys
            ("truth_mass", pa.float32()),  # attention on the true keys
            ("overlap", pa.float32()),  # share of the s true keys among the s keys with the most attention
            # both by the mean pattern, or sequence by sequence where the true keys vary: `train.evaluate.Evaluation`
        ]
    ),
}

ADDED = {"steps": ("lowest_train_loss",)}
"""Columns that older versions did not write, by table: they are read as NaN."""


def _no_influence() -> NDArray[np.float32]:
    return np.zeros((0, 0, 0, 0), np.float32)


@dataclass(frozen=True)
class Patterns:
    """Snapshots of what the models look at: attention, influence, or both."""

    steps: NDArray[np.int64]
    """[snapshot]"""
    patterns: NDArray[np.float16]
    """[snapshot, seed, layer, head, scored query, key] attention, mean over the evaluation sequences; no layer where
    it is not measured."""
    influence: NDArray[np.float32] = field(default_factory=_no_influence)
    """[snapshot, seed, query, key] how far each token moves each prediction, from 0 to 1 (`train.influence`); no
    snapshot where it was not asked for."""


@dataclass(frozen=True)
class RunRecords:
    """Everything that a run recorded, finished or not."""

    path: Path
    spec: RunSpec
    facts: TaskFacts
    finished: bool
    steps: pa.Table
    units: pa.Table
    positions: pa.Table
    heads: pa.Table
    patterns: Patterns

    @property
    def evaluated_steps(self) -> NDArray[np.int64]:
        """[evaluation] the steps that were evaluated, increasing."""
        return np.unique(self.steps["step"].to_numpy()).astype(np.int64)

    @property
    def future_influence(self) -> float | None:
        """The most that any token moved a prediction before it, over seeds, at the end; None if it was not measured."""
        influence = self.patterns.influence
        return float(np.triu(influence[-1], 1).max()) if len(influence) else None

    @property
    def measured_attention(self) -> bool:
        """Whether there are measures of heads: not where there is no attention, or where it was not asked for."""
        return len(self.heads) > 0

    def cube(self, table: str, column: str) -> NDArray[np.float64]:
        """A column of a table as an array.

        [seed, evaluation] of `steps`, [seed, evaluation, unit] of `units`, [seed, evaluation, query] of `positions`,
        [seed, evaluation, layer, head, unit] of `heads`.
        """
        data: pa.Table = getattr(self, table)
        keys = [name for name in data.schema.names if name in ("seed", "step", "unit", "query", "layer", "head")]
        shape = tuple(len(np.unique(data[key].to_numpy())) for key in keys)
        order = np.lexsort([data[key].to_numpy() for key in reversed(keys)])
        return data[column].to_numpy()[order].reshape(shape).astype(np.float64)


def join_patterns(parts: Sequence[Patterns]) -> Patterns:
    """Snapshots of one run one after the other."""
    return Patterns(*(np.concatenate([getattr(part, key.name) for part in parts]) for key in fields(Patterns)))


def facts_to_arrays(facts: TaskFacts) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Task facts as arrays and string metadata, as safetensors keeps them."""
    arrays: dict[str, NDArray[Any]] = {
        "unit_of_query": facts.unit_of_query,
        "truth": facts.truth,
        "candidates": facts.candidates,
        "chance_loss": facts.chance_loss,
        "floor_loss": facts.floor_loss,
    }
    if facts.varying is not None:
        arrays["varying"] = facts.varying
    text = {
        "symbols": str(facts.symbols),
        "length": str(facts.length),
        "units": json.dumps(facts.units),
        "corners": json.dumps(facts.corners),
    }
    return arrays, text


def facts_from_arrays(arrays: dict[str, NDArray[Any]], text: dict[str, str]) -> TaskFacts:
    """The inverse of `facts_to_arrays`."""
    return TaskFacts(
        symbols=int(text["symbols"]),
        length=int(text["length"]),
        units=tuple(json.loads(text["units"])),
        corners=tuple(json.loads(text["corners"])),
        **arrays,
    )
