"""Can a narrow model take its patterns from a wide one? Distillation from the last checkpoint and from several."""

from typing import Any

from saltus.specs import DistillationSpec, ScheduleSpec, TransformerSpec
from saltus.studies.trial import Trial, make_study
from sooner_repetition import RATES, SCALES, SWEEP_SEEDS, change

STEPS, EVERY = 1_000, 100
"""Of the teacher's training, and between its checkpoints: one that does not know all rows yet holds its students up."""

UNTIL = 600
"""Steps in which a student is taught."""

TEACHER = change(
    name="teacher",
    model=TransformerSpec(d_model=32, heads=32, d_head=4),
    training={"steps": STEPS, "checkpoint": ScheduleSpec(every=EVERY, factor=1000), "stop_when_solved": False},
    seeds=1,
)
"""As many small heads as a student has dimensions."""

STUDENT = change(model=TransformerSpec(d_model=32, heads=4, d_head=4))


def learn(**values: Any) -> DistillationSpec:
    """From the teacher, for so long."""
    return DistillationSpec(teacher=TEACHER.run_id, until=UNTIL, **values)


WAYS = {
    "from the last checkpoint": learn(checkpoints=(STEPS,)),
    "from checkpoints in turn": learn(checkpoints=tuple(range(EVERY, STEPS + 1, EVERY)), stretch=50),
    "from the middle checkpoint": learn(checkpoints=(STEPS // 2,)),
}

study = make_study(
    Trial(
        STUDENT,
        changes={name: change(STUDENT, intervention=way) for name, way in WAYS.items()},
        placebos={name: change(STUDENT, intervention=learn(checkpoints=(0,))) for name in WAYS},
        rates=RATES,
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
        teacher=TEACHER,
    )
)
