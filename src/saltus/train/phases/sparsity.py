"""Fewer keys first."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import RunSpec, SparsityPhase
from saltus.tasks.base import Task, ThinTask
from saltus.train.phases.mixed import Eased


class Sparsity(Eased):
    """The target with the first keys of each query alone."""

    def __init__(self, spec: SparsityPhase, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        """Refused where a task cannot be thinned."""
        super().__init__(spec, run, target, generator)
        if not hasattr(self.base, "thin"):
            raise SaltusError(
                f"curriculum: a phase of kind 'sparsity' was given, and a task of kind {run.task.kind!r} has no "
                "version with fewer keys; take a linear map, a cellular automaton or a sparse parity"
            )
        self.task = cast("ThinTask", self.base).thin(spec.keys, generator)
        self.facts = self.task.facts
        if spec.until_solved is not None:
            self.probe = self.task.sample(generator, run.training.evaluation_sequences)

    def sample(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """As of `Mixed`."""
        return self.task.sample(generator, len(tokens))
