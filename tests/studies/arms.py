"""Results and arms of a comparison made by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from saltus.specs import LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.studies.cells import Cell
from saltus.studies.gate import Arm
from saltus.studies.results import Result
from saltus.studies.tried import Setting
from saltus.tasks.build import read_facts
from saltus.train.measures import MEASURES
from saltus.train.records import RunRecords, SnapshotRows, state_rule

STEPS = np.arange(0, 1001, 100)

Rows = Sequence[Mapping[str, float]]


def make_spec(seeds: int = 1, *, name: str = "cell", **training: Any) -> RunSpec:
    """A run on a map of four rows."""
    values: dict[str, Any] = {"steps": 1000, "batch_sequences": 8} | training
    return RunSpec(
        name=name,
        task=LinearMapSpec(size=4, sparsity=2),
        model=TransformerSpec(d_model=8, heads=2),
        training=TrainingSpec(**values),
        seeds=seeds,
    )


def invent(cell: Cell, steps: Rows = (), units: Rows = (), *, scale: str = "full") -> Result:
    """What a cell gave, with these rows of the tables of steps and units."""
    rows: dict[str, Rows] = {"steps": steps, "units": units}
    records = RunRecords(
        path=Path(cell.run.run_id),
        spec=cell.run,
        facts=read_facts(cell.run),
        tables={
            each.name: pa.Table.from_pylist(list(rows.get(each.name, ())), schema=each.schema) for each in MEASURES
        },
        kept=SnapshotRows.none(),
        summary={},
        rule=state_rule(cell.run),
    )
    return Result(cell, records, scale)


def solve(cell: Cell, solved_at: Sequence[int | None], *, loss: float = 0.1, scale: str = "full") -> Result:
    """A seed for each step at which its four rows are there at once; `loss` is the scored loss throughout."""
    evaluations = [(seed, by, step) for seed, by in enumerate(solved_at) for step in STEPS.tolist()]
    losses = {"train_loss": loss, "loss": loss, "scored_loss": loss}
    steps = [{"seed": seed, "step": step} | losses for seed, _, step in evaluations]
    units = [
        {"seed": seed, "step": step, "unit": unit, "progress": float(by is not None and step >= by)}
        for seed, by, step in evaluations
        for unit in range(4)
    ]
    return invent(cell, steps, units, scale=scale)


def make_result(
    solved_at: Sequence[int | None],
    *,
    loss: float = 0.1,
    rate: float = 1e-3,
    master_seed: int = 0,
    sequences: int = 8,
) -> Result:
    """The same of a run with this learning rate, this master seed and so many sequences in a batch."""
    spec = make_spec(len(solved_at), batch_sequences=sequences, learning_rate=rate)
    return solve(Cell(run=spec.model_copy(update={"master_seed": master_seed})), solved_at, loss=loss)


def make_sweeps(solved_at: Mapping[float, int | None], *, master_seed: int = 9) -> dict[str, dict[Setting, Result]]:
    """The same sweep for both cells: at each rate one seed that solves at the step given, and one that never does."""
    tried = [make_result([at, None], rate=rate, master_seed=master_seed) for rate, at in solved_at.items()]
    sweep = {result.setting: result for result in tried}
    return {"easy": sweep, "hard": sweep}


def make_arm(name: str = "one", **values: Any) -> Arm:
    """An arm that passes: the hard cell takes longer, the middle of its sweep is the best."""
    usual = Arm(
        name=name,
        parameters={"easy": 1000, "hard": 900},
        cells={"easy": make_result([200, 300]), "hard": make_result([600, None])},
        noise=make_result([None, None], loss=float(np.log(2))),
        sweeps=make_sweeps({3e-4: None, 1e-3: 500, 3e-3: None}),
        future=0.0,
    )
    return replace(usual, **values)
