"""Repeated sequences first."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saltus.specs import RepeatPhase, RunSpec
from saltus.tasks.base import Task
from saltus.train.interventions.repeat import Repeat
from saltus.train.phases.base import Batch, Phase


class Repetition(Phase):
    """The intervention `repeat`, on the target; it is solved when the target is, on fresh sequences."""

    def __init__(self, spec: RepeatPhase, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        super().__init__(spec, run, target, generator)
        self._repeat = Repeat(spec.pool, run.model, target, generator)

    def draw(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> Batch:
        """As `Phase.draw`."""
        return Batch(self._repeat.data(step, torch.from_numpy(tokens), generator).numpy(), None)
