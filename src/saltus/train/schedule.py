"""Which steps are evaluated, kept and checkpointed, and what the learning rate is at a step."""

import math

from saltus.specs import ScheduleSpec, TrainingSpec


def list_steps(spec: ScheduleSpec, steps: int) -> tuple[int, ...]:
    """0, then growing by the factor up to `every`, then every `every` steps; always the last step.

    >>> list_steps(ScheduleSpec(first=1, factor=2, every=10), 35)
    (0, 1, 2, 4, 8, 10, 20, 30, 35)
    """
    growing: list[int] = []
    position = float(spec.first)
    while position < min(spec.every, steps):
        growing.append(round(position))
        position = max(position * spec.factor, growing[-1] + 1)
    return tuple(sorted({0, *growing, *range(spec.every, steps, spec.every), steps}))


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
