"""Sequences that are not the target's, in all of a batch or in a part of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.specs import RunSpec
from saltus.specs.curricula import EasedSpec, MixedSpec
from saltus.tasks.base import Task
from saltus.tasks.build import build_task
from saltus.train.phases.base import Batch, Phase, weigh_queries, weigh_sequences


class Mixed(Phase):
    """With a probability a sequence is one of the phase's, which may be shorter; the others are the target's.

    Shorter ones among longer ones are filled up with symbol 0, which nothing before it sees and no loss counts. A
    sequence counts as much as any other in the loss, whatever its length.
    """

    def __init__(self, spec: MixedSpec, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        super().__init__(spec, run, target, generator)
        self._probability, self._loss = spec.probability, run.training.loss

    def sample(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """As many sequences of the phase as there are `tokens` of the target."""
        raise NotImplementedError

    def draw(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> Batch:
        """As `Phase.draw`."""
        own = self.sample(step, tokens, generator).astype(tokens.dtype)
        weights = None if self._is_alike() else weigh_sequences(self.task, self.facts, self._loss, own)
        if self._probability == 1.0:
            return Batch(own, weights)
        chosen = generator.random((len(tokens), 1)) < self._probability
        mixed = np.where(chosen, _fill_up(own, tokens.shape[1]), tokens)
        if weights is None:
            return Batch(mixed, None)
        theirs = weigh_sequences(self.target, self.target.facts, self._loss, tokens)
        return Batch(mixed, np.where(chosen, _fill_up(weights, theirs.shape[1]), theirs))

    def _is_alike(self) -> bool:
        """Whether the loss weighs the predictions of the phase's sequences as those of the target's."""
        own, theirs = self.facts, self.target.facts
        if own.queries != theirs.queries or own.reordered or theirs.reordered:
            return False
        return np.array_equal(weigh_queries(own, self._loss), weigh_queries(theirs, self._loss))


class Eased(Mixed):
    """The target made easier, or another task of its description that is made easier in the same way."""

    def __init__(self, spec: EasedSpec, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        super().__init__(spec, run, target, generator)
        self.base = target if spec.source == "target" else build_task(run.task, generator)
        """What is made easier."""


def _fill_up(values: NDArray[Any], length: int) -> NDArray[Any]:
    """[sequence, place] with zeros up to a length."""
    return np.pad(values, ((0, 0), (0, length - values.shape[1])))
