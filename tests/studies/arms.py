"""Arms of a comparison made by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from saltus.specs import LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.studies.gate import Arm
from saltus.tasks.linear_map import LinearMap
from saltus.train.records import TABLES, Patterns, RunRecords

STEPS = np.arange(0, 1001, 100)


def make_records(
    solved_at: Sequence[int | None], *, loss: float = 0.1, rate: float = 1e-3, master_seed: int = 0, sequences: int = 8
) -> RunRecords:
    """A seed for each step at which its four rows are there at once; `loss` is the scored loss throughout."""
    spec = RunSpec(
        name="cell",
        task=LinearMapSpec(size=4, sparsity=2),
        model=TransformerSpec(d_model=8, heads=2),
        training=TrainingSpec(steps=1000, batch_sequences=sequences, learning_rate=rate),
        seeds=len(solved_at),
        master_seed=master_seed,
    )
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for seed, by in enumerate(solved_at):
        for step in STEPS.tolist():
            key = {"seed": seed, "step": step}
            rows["steps"].append(key | {"train_loss": loss, "loss": loss, "scored_loss": loss})
            there = float(by is not None and step >= by)
            rows["units"] += [key | {"unit": unit, "progress": there} for unit in range(4)]
    return RunRecords(
        path=Path("cell"),
        spec=spec,
        facts=LinearMap(LinearMapSpec(size=4, sparsity=2), np.random.default_rng(0)).facts,
        finished=True,
        **{name: pa.Table.from_pylist(rows[name], schema=TABLES[name]) for name in TABLES},
        patterns=Patterns(np.zeros(0, np.int64), np.zeros((0, 0, 0, 0, 0, 0), np.float16)),
    )


def make_sweeps(solved_at: Mapping[float, int | None], *, master_seed: int = 9) -> dict[str, dict[float, RunRecords]]:
    """The same sweep for both cells: at each rate one seed that solves at the step given, and one that never does."""
    sweep = {rate: make_records([at, None], rate=rate, master_seed=master_seed) for rate, at in solved_at.items()}
    return {"easy": sweep, "hard": sweep}


def make_arm(name: str = "one", **values: Any) -> Arm:
    """An arm that passes: the hard cell takes longer, the middle of its sweep is the best."""
    usual = Arm(
        name=name,
        parameters={"easy": 1000, "hard": 900},
        cells={"easy": make_records([200, 300]), "hard": make_records([600, None])},
        noise=make_records([None, None], loss=float(np.log(2))),
        sweeps=make_sweeps({3e-4: None, 1e-3: 500, 3e-3: None}),
        future=0.0,
    )
    return replace(usual, **values)
