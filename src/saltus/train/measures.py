"""Evaluations -> rows of the records."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.tasks.base import TaskFacts
from saltus.train.ensemble import TrainLoss
from saltus.train.evaluate import Evaluation
from saltus.train.records import TABLES


def tabulate(
    step: int, evaluations: Sequence[Evaluation], train_losses: Sequence[TrainLoss], facts: TaskFacts
) -> dict[str, pa.Table]:
    """The rows that one evaluation of all seeds adds to each table of the records; both sequences are [seed]."""
    loss = np.stack([e.loss for e in evaluations])  # [seed, query]
    accuracy = np.stack([e.accuracy for e in evaluations])
    unit_loss, unit_accuracy = facts.mean_by_unit(loss), facts.mean_by_unit(accuracy)  # [seed, unit]
    values = {
        "steps": {
            "train_loss": np.array([batches.mean for batches in train_losses]),
            "lowest_train_loss": np.array([batches.lowest for batches in train_losses]),
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
            "truth_mass": facts.mean_by_unit(np.stack([e.truth_mass for e in evaluations])),
            "overlap": facts.mean_by_unit(np.stack([e.overlap for e in evaluations])),
        },
    }
    return {name: _table(name, step, columns) for name, columns in values.items()}


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
