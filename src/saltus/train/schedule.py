"""What the learning rate is at a step."""

import math

from saltus.specs import TrainingSpec


def learning_rate_at(spec: TrainingSpec, step: int) -> float:
    """The learning rate of update `step` (0 is the first): linear warm-up, then constant or cosine to zero."""
    if step < spec.warmup:
        return spec.learning_rate * (step + 1) / spec.warmup
    if spec.decay == "constant":
        return spec.learning_rate
    share = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    return spec.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
