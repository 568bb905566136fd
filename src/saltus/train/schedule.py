"""Which steps are evaluated, kept and checkpointed, and what the learning rate is at a step."""

import math
from collections.abc import Iterator
from itertools import count, takewhile

from saltus.specs import ScheduleSpec, TrainingSpec


def generate_steps(spec: ScheduleSpec) -> Iterator[int]:
    """0, then growing by the factor up to `every`, then every `every` steps, without end."""
    yield 0
    position = float(spec.first)
    while (step := round(position)) < spec.every:
        yield step
        position = max(position * spec.factor, step + 1)
    yield from count(spec.every, spec.every)


def list_steps(spec: ScheduleSpec, steps: int) -> tuple[int, ...]:
    """The scheduled steps before `steps`, and `steps`, which is always the last.

    >>> list_steps(ScheduleSpec(first=1, factor=2, every=10), 35)
    (0, 1, 2, 4, 8, 10, 20, 30, 35)
    """
    return (*takewhile(lambda step: step < steps, generate_steps(spec)), steps)


def count_steps(spec: ScheduleSpec, steps: int) -> int:
    """How many steps `list_steps` has, without listing them.

    >>> count_steps(ScheduleSpec(first=1, factor=2, every=10), 35)
    9
    """
    growing = list_steps(spec, min(spec.every, steps))
    return len(growing) + max(0, -(-steps // spec.every) - 1)


def learning_rate_at(spec: TrainingSpec, step: int) -> float:
    """The learning rate of update `step` (0 is the first): linear warm-up, then constant or cosine to zero."""
    if step < spec.warmup:
        return spec.learning_rate * (step + 1) / spec.warmup
    if spec.decay == "constant":
        return spec.learning_rate
    share = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    return spec.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
