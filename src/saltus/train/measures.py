"""Evaluations -> rows of the records."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.records import TABLES
from saltus.tasks.base import TaskFacts
from saltus.train.evaluate import Evaluation


def tabulate(
    step: int, evaluations: Sequence[Evaluation], train_loss: NDArray[np.float64], facts: TaskFacts
) -> dict[str, pa.Table]:
    """The rows that one evaluation of all seeds, [seed], adds to each table of the records; `train_loss` is [seed]."""
    loss = np.stack([e.loss for e in evaluations])  # [seed, query]
    accuracy = np.stack([e.accuracy for e in evaluations])
    unit_loss, unit_accuracy = facts.mean_by_unit(loss), facts.mean_by_unit(accuracy)  # [seed, unit]
    pattern = np.stack([e.pattern for e in evaluations])  # [seed, layer, head, query, key]
    mass, overlap = align(pattern, facts)
    values = {
        "steps": {
            "train_loss": train_loss,
            "loss": loss.mean(1),
            "scored_loss": loss[:, facts.scored].mean(1),
            "accuracy": accuracy[:, facts.scored].mean(1),
            "exact_units": (unit_accuracy == 1.0).sum(1),
            "exact_sequences": np.array([e.exact_sequences for e in evaluations]),
        },
        "units": {
            "loss": unit_loss,
            "accuracy": unit_accuracy,
            "target_probability": facts.mean_by_unit(np.stack([e.target_probability for e in evaluations])),
            "progress": facts.progress(unit_loss),
        },
        "positions": {"loss": loss, "accuracy": accuracy},
        "heads": {
            "entropy": facts.mean_by_unit(np.stack([e.entropy for e in evaluations])),
            "truth_mass": facts.mean_by_unit(mass),
            "overlap": facts.mean_by_unit(overlap),
        },
    }
    return {name: _table(name, step, columns) for name, columns in values.items()}


def align(pattern: NDArray[np.float32], facts: TaskFacts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Attention on the true keys, and the share of a query's s true keys among its s most attended visible keys.

    [..., query, key] -> two arrays [..., query]; 0 where a query has no true keys.
    """
    mass = (pattern * facts.truth).sum(-1, dtype=np.float64)
    needed = facts.truth.sum(-1)  # [query]
    visible = np.tri(facts.queries, dtype=bool)
    order = np.argsort(np.where(visible, -pattern, np.inf), axis=-1, kind="stable")[..., : max(1, needed.max())]
    hit = np.take_along_axis(np.broadcast_to(facts.truth, pattern.shape), order, axis=-1)
    counted = np.arange(order.shape[-1]) < needed[:, None]  # [query, rank]
    return mass, (hit & counted).sum(-1) / np.maximum(1, needed)


def _table(name: str, step: int, columns: dict[str, NDArray[np.float64]]) -> pa.Table:
    """Arrays [seed, ...] as rows, the axes after the seed becoming the key columns that the schema names."""
    schema = TABLES[name]
    shape = next(iter(columns.values())).shape
    axes = [field for field in schema.names if field not in ("seed", "step", *columns)]
    index = np.indices(shape).reshape(len(shape), -1)
    keys = {"seed": index[0], "step": np.full(index.shape[1], step)}
    keys |= dict(zip(axes, index[1:], strict=True))
    arrays = keys | {column: value.reshape(-1) for column, value in columns.items()}
    return pa.table([pa.array(arrays[field.name]).cast(field.type) for field in schema], schema=schema)
