"""How much memory a run needs, by arithmetic from its description: what cannot fit is refused before it is tried."""

from collections.abc import Mapping
from pathlib import Path

import torch

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.train.schedule import count_steps

DATA_BLOCK = 32
"""Steps whose data one generator call draws: part of what a seed's data are, so it never changes with the hardware."""

_SIGNS = ("out of memory", "can't allocate memory", "Cannot allocate memory", "Unable to allocate")

_GIB = 2**30
_FLOAT = 4
_ROW = 8 + 5 * 8
"""Bytes of a row of a table: two keys and five columns."""
_ARRAYS = {"adamw": 4, "sgd": 3, "muon": 5}
"""Arrays as large as the weights: they, their gradient and the moments."""
_STEP = 100
"""Bytes of a step in a schedule: a number in a set and in a list."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has ended, as far as its kind or its text tells."""
    oom = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return oom or any(sign in str(error) for sign in _SIGNS)


def estimate_memory(spec: RunSpec, processes: int) -> dict[str, int]:
    """Bytes that a run takes at least, by the field of its description that is to be made smaller.

    `processes` is how many seeds are in memory at a time, each in a process. What is not listed is small beside it.
    """
    training, model, length = spec.training, spec.model, spec.task.tokens
    seeds = min(spec.seeds, processes)
    queries = max(length - 1, 1)
    between = min(training.checkpoint.every, training.steps)  # rows are kept until the next checkpoint
    listed = [count_steps(each, training.steps) for each in (training.evaluate, training.snapshot)]
    evaluations, snapshots = (count * between // training.steps + 1 for count in listed)
    width = 1 if spec.task.vocabulary <= 256 else 4  # bytes of a token
    heads = model.layers * max(model.attention_heads, 1)
    kept = snapshots * spec.seeds * heads * queries**2 * 2 if training.patterns else 0
    masks = spec.batch * model.branches * queries * model.d_model * (_FLOAT + 1) if model.dropout else 0
    weights = model.layers * model.d_model * (4 * model.d_model + 2 * model.mlp_width)
    return {
        "training.batch_sequences": (DATA_BLOCK * spec.batch * length * width + masks) * seeds,
        "training.evaluation_sequences": training.evaluation_sequences * length * width * seeds,
        "task.size": 3 * queries**2 + heads * queries**2 * _FLOAT * seeds,
        "training.evaluate": evaluations * spec.seeds * queries * _ROW + listed[0] * _STEP,
        "training.snapshot": kept + listed[1] * _STEP,
        "model.d_model": _ARRAYS[training.optimizer] * _FLOAT * weights * seeds,
    }


def check_memory(spec: RunSpec, processes: int, available: int) -> None:
    """Refuse a run that cannot fit into `available` bytes.

    Raises:
        SaltusError: which names what takes most.

    """
    parts = estimate_memory(spec, processes)
    needed = sum(parts.values())
    if needed <= available:
        return
    field, most = max(parts.items(), key=lambda part: part[1])
    value = _find(spec, field)
    raise SaltusError(
        f"it takes {_say(needed)} of memory at least, and {_say(available)} are there; {_say(most)} of that come of "
        f"{field}, which is {value}: make it smaller"
    )


def read_available(listing: Path = Path("/proc/meminfo"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes of memory that are left, of the machine or of its container where that has less; None if unknown."""
    known: list[int] = []
    try:
        lines = dict(line.split(":", 1) for line in listing.read_text().splitlines() if ":" in line)
        known.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError, IndexError):
        pass
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            known.append(int((groups / limit).read_text()) - int((groups / used).read_text()))
        except (OSError, ValueError):  # not there, or `max`
            continue
    return max(min(known), 0) if known else None


def _find(spec: RunSpec, field: str) -> object:
    """The value behind a dotted name; the batch may be given in tokens, and a task may have no size."""
    if field == "training.batch_sequences":
        return f"{spec.batch:,}"
    values: Mapping[str, object] = spec.model_dump(mode="json")
    part, _, name = field.partition(".")
    inside = values[part]
    found = inside.get(name) if isinstance(inside, Mapping) else None
    return f"such that a sequence has {spec.task.tokens:,} tokens" if found is None else found


def _say(count: int) -> str:
    return f"{count / _GIB:,.1f} GiB"
