"""Which attention learns a linear map soonest: a race over heads and head dimensions, beside the full grid of seeds."""

from saltus.specs import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.studies.cells import Cell
from saltus.studies.race import Race
from saltus.studies.study import Study

SEEDS = 16
"""Of each arm in the full grid, and the most in the race."""


def make(heads: int, dimension: int) -> Cell:
    """An arm: a model of one width, so that arms differ in their attention alone."""
    return Cell(
        heads=heads,
        dimension=dimension,
        run=RunSpec(
            task=LinearMapSpec(size=8, sparsity=2),
            model=TransformerSpec(d_model=32, heads=heads, d_head=dimension),
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
        ),
    )


study = Study(
    cells=[make(heads, dimension) for heads in (1, 2, 4, 8) for dimension in (4, 8, 16)],
    race=Race(by="median step"),
)
