"""Does bfloat16 in matrix products move the emergence steps? The demo's model and size with 32 seeds, in both.

The map, the steps and the grid are those that the demo had when this was first run; the demo has moved on since.
"""

from saltus import Cell, RunSpec, ScheduleSpec, Study
from saltus.demo import DEMO


def in_precision(precision: str) -> RunSpec:
    """32 seeds, products in `precision`, and few checkpoints."""
    values = DEMO.model_dump()
    values |= {"name": f"precision-{precision}", "seeds": 32, "master_seed": 1}
    values["training"] |= {
        "precision": precision,
        "compile": True,
        "steps": 1800,
        "evaluate": ScheduleSpec(every=20).model_dump(),
        "snapshot": ScheduleSpec(every=600).model_dump(),
        "checkpoint": ScheduleSpec(every=600).model_dump(),
    }
    return RunSpec(**values)


study = Study(
    cells=[Cell(precision=precision, run=in_precision(precision)) for precision in ("float32", "bfloat16")],
)
