"""What all trials of making it come sooner have in common: the map, the model, and how arms are swept."""

from typing import Any

from saltus.specs import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.studies.cells import vary_run

SEEDS = 12
RATES = (1e-3, 3e-3, 1e-2)
SCALES = (1.0, 2.0)
"""Of the initialisation."""
SWEEP_SEEDS = 3

CONTROL = RunSpec(
    task=LinearMapSpec(size=12, sparsity=2),
    model=TransformerSpec(d_model=32, heads=4, d_head=8),
    training=TrainingSpec(
        steps=1_500,
        batch_sequences=32,
        evaluation_sequences=128,
        evaluate=ScheduleSpec(every=10),
        patterns=False,
        compile=False,
        stop_when_solved=True,
    ),
    seeds=SEEDS,
)
"""Twelve rows of two ones, four heads of eight dimensions. Half of the seeds know all rows at about step 500."""


def change(run: RunSpec = CONTROL, *, training: dict[str, Any] | None = None, **values: Any) -> RunSpec:
    """The control with other values."""
    return vary_run(run, training=training or {}, **values)
