"""Shorter context first."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import RunSpec, SizePhase
from saltus.tasks.base import Task
from saltus.train.phases.base import restrict
from saltus.train.phases.mixed import Eased


class Size(Eased):
    """The first tokens of sequences of the target: no later one is read or predicted."""

    def __init__(self, spec: SizePhase, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        """Refused where nothing of what is kept is scored, or other places are scored in each sequence."""
        super().__init__(spec, run, target, generator)
        whole, queries = self.base.facts, spec.tokens - 1
        if whole.reordered:
            raise SaltusError(
                f"curriculum: a phase of kind 'size' was given, and a task of kind {run.task.kind!r} scores other "
                "places in each sequence; take a phase of kind 'mixture' with a shorter task"
            )
        first = int(np.flatnonzero(whole.scored)[0]) + 2
        if spec.tokens < first:
            raise SaltusError(
                f"curriculum: a phase of kind 'size' has {spec.tokens} tokens, and the first that is scored is token "
                f"{first} of a sequence; take at least so many"
            )
        kept = restrict(whole, np.arange(whole.queries) < queries)
        self.facts = replace(
            kept,
            length=spec.tokens,
            unit_of_query=kept.unit_of_query[:queries],
            truth=kept.truth[:queries, :queries],
            candidates=kept.candidates[:queries, :queries],
            chance_loss=kept.chance_loss[:queries],
            floor_loss=kept.floor_loss[:queries],
            varying=None if kept.varying is None else kept.varying[:queries],
        )
        self._tokens, self._other = spec.tokens, spec.source == "other"
        if self._other and spec.until_solved is not None:
            self.task = self.base
            self.probe = self.base.sample(generator, run.training.evaluation_sequences)

    def sample(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """As of `Mixed`: of the sequences that the target drew."""
        return (self.base.sample(generator, len(tokens)) if self._other else tokens)[:, : self._tokens]
