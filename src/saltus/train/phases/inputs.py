"""Inputs that are not uniform first: few symbols, or one more often than the others."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import InputBiasPhase, RunSpec, SymbolsPhase
from saltus.specs.curricula import EasedSpec
from saltus.tasks.base import InputTask, Task
from saltus.train.phases.mixed import Eased


class Inputs(Eased):
    """The target on inputs of another distribution. It is solved when the target itself is, on uniform inputs."""

    def __init__(self, spec: EasedSpec, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        """Refused where a task has no inputs from which everything follows."""
        super().__init__(spec, run, target, generator)
        if not hasattr(self.base, "complete"):
            raise SaltusError(
                f"curriculum: a phase of kind {spec.kind!r} was given, and a task of kind {run.task.kind!r} does not "
                "follow from inputs; take a linear map, a cellular automaton or a sparse parity"
            )
        self.task, self.facts = self.base, self.base.facts
        if spec.source == "other" and spec.until_solved is not None:
            self.probe = self.base.sample(generator, run.training.evaluation_sequences)

    def draw_inputs(self, step: int, shape: tuple[int, int], generator: np.random.Generator) -> NDArray[Any]:
        """[sequence, input]"""
        raise NotImplementedError

    def sample(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """As of `Mixed`."""
        task = cast("InputTask", self.base)
        inputs = self.draw_inputs(step, (len(tokens), task.inputs), generator)
        return task.complete(inputs.astype(tokens.dtype), generator)


class Symbols(Inputs):
    """The first symbols alone."""

    spec: SymbolsPhase

    def draw_inputs(self, step: int, shape: tuple[int, int], generator: np.random.Generator) -> NDArray[Any]:
        """As of `Inputs`."""
        return generator.integers(0, self.spec.symbols, size=shape)


class InputBias(Inputs):
    """Symbol 0 with a probability that is annealed to that of the others."""

    spec: InputBiasPhase

    def draw_inputs(self, step: int, shape: tuple[int, int], generator: np.random.Generator) -> NDArray[Any]:
        """As of `Inputs`."""
        symbols = self.facts.symbols
        zero = generator.random(shape) < self.spec.anneal(1.0 / symbols, step)
        return np.where(zero, 0, generator.integers(1, symbols, size=shape))
