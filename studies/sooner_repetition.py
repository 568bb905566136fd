"""Does it help to see the same sequences again? A pool that comes back in every batch, for a while or throughout."""

from typing import Any

from saltus.specs import LinearMapSpec, RepeatSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.studies.cells import vary_run
from saltus.studies.trial import Trial, make_study

SEEDS = 12
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
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


POOLS = {
    "pool of 64, half of each batch": RepeatSpec(sequences=64, probability=0.5),
    "pool of 64, half of each batch, 200 steps": RepeatSpec(sequences=64, probability=0.5, until=200),
    "pool of 1,024, half of each batch": RepeatSpec(sequences=1024, probability=0.5),
}

study = make_study(
    Trial(
        CONTROL,
        changes={name: change(intervention=pool) for name, pool in POOLS.items()},
        placebos={
            name: change(intervention=pool.model_copy(update={"source": "fresh"})) for name, pool in POOLS.items()
        },
        rates=RATES,
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
    )
)
