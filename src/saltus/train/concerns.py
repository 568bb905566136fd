"""What a person should know before a run is trained, though nothing forbids it."""

from functools import cache
from pathlib import Path

import numpy as np

from saltus.models.custom import find_leak
from saltus.specs import CustomSpec, RunSpec
from saltus.tasks.base import TaskFacts
from saltus.train.schedule import count_steps

CPU_LISTING = Path("/proc/cpuinfo")

_LOW = ("avx512_bf16", "amx_bf16", "bf16")
"""Flags of a processor that multiplies in bfloat16, the last of them on ARM."""


@cache
def multiplies_low(listing: Path = CPU_LISTING) -> bool:
    """Whether this processor has instructions for products in bfloat16; without them they are 35 times slower."""
    if not listing.exists():
        return True  # not known: nothing is said
    flags = {flag for line in listing.read_text().splitlines() if ":" in line for flag in line.split(":", 1)[1].split()}
    return any(flag in flags for flag in _LOW)


def find_unknown_floor(name: str, facts: TaskFacts) -> str | None:
    """A sentence where the smallest reachable loss is not known."""
    unknown = np.isnan(facts.floor_loss[facts.scored])
    if not unknown.any():
        return None
    return (
        f"{name}: the smallest reachable loss is not known for {unknown.mean():.0%} of the predictions; it is taken as "
        "0, so a unit may be solved and never count as there: take a lower emergence.threshold"
    )


def list_concerns(spec: RunSpec, device: str = "cpu") -> list[str]:
    """Sentences, each with what to do about it."""
    concerns: list[str] = []
    training, hold = spec.training, spec.emergence.hold
    evaluations = count_steps(training.evaluate, training.steps)
    if hold > evaluations:
        concerns.append(
            f"{spec.name}: a unit has to hold for {hold} evaluations and there are {evaluations}, so nothing can "
            "emerge; take a smaller emergence.hold, or evaluate more often"
        )
    if isinstance(spec.model, CustomSpec) and (leak := find_leak(spec.model, spec.task.tokens - 1)):
        concerns.append(f"{spec.name}: {leak}")
    low = {"training.precision float32": training.precision == "bfloat16"}
    low["another training.optimizer than muon"] = training.optimizer == "muon"  # its iterations are in bfloat16
    if any(low.values()) and device == "cpu" and not multiplies_low():
        remedy = " and ".join(name for name, used in low.items() if used)
        concerns.append(
            f"{spec.name}: this processor has no instructions for bfloat16, and is some 35 times slower with it; take "
            f"{remedy}"
        )
    return concerns
