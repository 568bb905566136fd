"""What the learning rate is at a step."""

import math

from saltus.specs import ScheduleSpec, TrainingSpec


def count_steps(spec: ScheduleSpec, steps: int) -> int:
    """How many steps `ScheduleSpec.list_steps` has, without listing them.

    >>> count_steps(ScheduleSpec(first=1, factor=2, every=10), 35)
    9
    """
    growing = spec.list_steps(min(spec.every, steps))
    return len(growing) + max(0, -(-steps // spec.every) - 1)


def learning_rate_at(spec: TrainingSpec, step: int) -> float:
    """The learning rate of update `step` (0 is the first): linear warm-up, then constant or cosine to zero."""
    if step < spec.warmup:
        return spec.learning_rate * (step + 1) / spec.warmup
    if spec.decay == "constant":
        return spec.learning_rate
    share = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    return spec.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
