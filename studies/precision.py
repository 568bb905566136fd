"""Does bfloat16 in matrix products move the emergence steps? The demo's cell with 32 seeds, in both precisions."""

from saltus import RunSpec, ScheduleSpec
from saltus.demo import DEMO


def in_precision(precision: str) -> RunSpec:
    """The demo with 32 seeds, products in `precision`, and few checkpoints."""
    values = DEMO.model_dump()
    values |= {"name": f"precision-{precision}", "seeds": 32}
    values["training"] |= {
        "precision": precision,
        "snapshot": ScheduleSpec(every=600).model_dump(),
        "checkpoint": ScheduleSpec(every=600).model_dump(),
    }
    return RunSpec(**values)


runs = [in_precision("float32"), in_precision("bfloat16")]
