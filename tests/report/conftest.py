"""Small runs made by hand, of which every number is known."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import ArrayLike, NDArray

from saltus.records import TABLES, Patterns, RunRecords
from saltus.specs import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.tasks.base import TaskFacts

EVERY = 10
"""Steps between two evaluations."""

Build = Callable[..., RunRecords]


def make_facts(
    size: int, needed: int, states: int, names: Sequence[str] | None, corners: Sequence[str], floor: float
) -> TaskFacts:
    """Cell i of a state needs the cells i, i + 1, ..., i + needed - 1 (in a ring) of the state before."""
    state, cell = np.divmod(np.arange(1, size * states), size)
    key_state, key_cell = np.divmod(np.arange(size * states - 1), size)
    before = key_state[None, :] == state[:, None] - 1
    chance = np.full(size * states - 1, np.log(2.0))
    return TaskFacts(
        symbols=2,
        length=size * states,
        units=tuple(names or (f"row {i}" for i in range(size))),
        unit_of_query=np.where(state > 0, cell, -1),
        truth=before & (np.mod(key_cell[None, :] - cell[:, None], size) < needed),
        candidates=before,
        chance_loss=chance,
        floor_loss=np.where(state > 0, floor, chance),
        corners=tuple(corners),
    )


def build_records(
    progress: ArrayLike,
    *,
    needed: int = 2,
    states: int = 2,
    layers: int = 1,
    heads: int = 2,
    names: Sequence[str] | None = None,
    corners: Sequence[str] = (),
    floor: float = 0.0,
    finished: bool = True,
    name: str = "small",
) -> RunRecords:
    """A run with this progress [seed, evaluation, unit], evaluated every 10 steps.

    The loss is as far from chance as the progress says. The last head of the last layer has the progress as its mass
    and overlap, the others have nothing; patterns are drawn at random.
    """
    values = np.asarray(progress, dtype=np.float64)
    seeds, evaluations, size = values.shape
    facts = make_facts(size, needed, states, names, corners, floor)
    steps = EVERY * np.arange(evaluations)
    spec = RunSpec(
        name=name,
        task=LinearMapSpec(size=size, sparsity=needed, states=states),
        model=TransformerSpec(layers=layers, heads=heads, d_model=8 * heads),
        training=TrainingSpec(steps=int(steps[-1]) or 1, batch_sequences=4, evaluate=ScheduleSpec(every=EVERY)),
        seeds=seeds,
    )
    by_query = np.where(facts.scored, values[..., facts.unit_of_query], 0.0)  # [seed, evaluation, query]
    loss = facts.chance_loss - by_query * (facts.chance_loss - np.nan_to_num(facts.floor_loss))
    unit_loss = facts.mean_by_unit(loss)
    accuracy = 0.5 + values / 2
    by_head = np.zeros((seeds, evaluations, layers, heads, size))
    by_head[:, :, -1, -1] = values
    tables = {
        "steps": {
            "train_loss": loss.mean(-1),
            "loss": loss.mean(-1),
            "scored_loss": loss[..., facts.scored].mean(-1),
            "accuracy": accuracy.mean(-1),
            "exact_units": (values >= 1.0).sum(-1),
            "exact_sequences": (values >= 1.0).all(-1).astype(float),
        },
        "units": {"loss": unit_loss, "accuracy": accuracy, "target_probability": accuracy, "progress": values},
        "positions": {"loss": loss, "accuracy": 0.5 + by_query / 2},
        "heads": {"entropy": 1.0 - by_head, "truth_mass": by_head, "overlap": by_head},
    }
    return RunRecords(
        path=Path("runs") / name,
        spec=spec,
        facts=facts,
        finished=finished,
        **{table: _tabulate(table, steps, columns) for table, columns in tables.items()},
        patterns=_draw_patterns(facts, steps, seeds, layers, heads),
    )


def ramp(evaluations: int, *starts: int | None) -> NDArray[np.float64]:
    """Progress [evaluation, unit] that is 0 and, from the evaluation that is given for a unit on, 1."""
    at = np.arange(evaluations)[:, None]
    return (np.array([[np.inf if start is None else start for start in starts]]) <= at).astype(np.float64)


@pytest.fixture(scope="session")
def build() -> Build:
    return build_records


@pytest.fixture(scope="session")
def three_seeds() -> RunRecords:
    """Seed 0 has row 0 by 20 and row 1 by 40, seed 1 loses row 0 again at 50, seed 2 learns nothing; budget 80."""
    progress = np.stack([ramp(9, 2, 4), ramp(9, 3, None), ramp(9, None, None)])
    progress[1, 5:, 0] = 0.0
    return build_records(progress)


def _tabulate(name: str, steps: NDArray[np.int64], columns: dict[str, NDArray[np.float64]]) -> Any:
    schema = TABLES[name]
    shape = next(iter(columns.values())).shape
    index = np.indices(shape).reshape(len(shape), -1)
    axes = [field for field in schema.names if field not in columns]
    keys = dict(zip(axes, [index[0], steps[index[1]], *index[2:]], strict=True))
    arrays = keys | {column: value.reshape(-1) for column, value in columns.items()}
    return pa.table([pa.array(arrays[field.name]).cast(field.type) for field in schema], schema=schema)


def _draw_patterns(facts: TaskFacts, steps: NDArray[np.int64], seeds: int, layers: int, heads: int) -> Patterns:
    queries = np.flatnonzero(facts.scored)
    shape = (len(steps), seeds, layers, heads, len(queries), facts.queries)
    weights = (
        np.random.default_rng(0).random(shape, dtype=np.float32) * np.tri(facts.queries, dtype=np.float32)[queries]
    )
    return Patterns(steps, (weights / weights.sum(-1, keepdims=True)).astype(np.float16))
