"""Another, easier task first, or among the target's sequences."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.specs import MixturePhase, RunSpec
from saltus.tasks.base import Task
from saltus.tasks.build import build_task
from saltus.train.phases.mixed import Mixed


class Mixture(Mixed):
    """Sequences of another task. It is solved when that task is."""

    def __init__(self, spec: MixturePhase, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        super().__init__(spec, run, target, generator)
        self.task = build_task(spec.task, generator)
        self.facts = self.task.facts
        if spec.until_solved is not None:
            self.probe = self.task.sample(generator, run.training.evaluation_sequences)

    def sample(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """As of `Mixed`."""
        return self.task.sample(generator, len(tokens))
