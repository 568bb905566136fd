"""What a phase may do at a step: give other sequences than the task drew, and weigh their predictions otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saltus.specs import RunSpec
from saltus.tasks.base import Task, TaskFacts, find_order


class Batch(NamedTuple):
    """What one seed is trained on at one step."""

    tokens: NDArray[Any]
    """[sequence, token]"""
    weights: NDArray[np.float64] | None
    """[sequence, query] of the predictions in the loss, each row of sum 1; None where it is that of the target."""


class Phase:
    """A part of the training of one run; the base trains on the target. Seeds of a run share it.

    Whatever it does follows from its step and the arguments alone, never from the steps before: a resumed run is the
    same run.
    """

    task: Task
    """Its own task: by it, it is decided whether the phase is solved."""
    facts: TaskFacts
    """Of its own task, or of those of its first queries and of its units that the phase trains."""
    probe: NDArray[Any] | None = None
    """[sequence, token] of its own task; None where the evaluation of the target tells."""

    def __init__(self, spec: Any, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        """`generator` draws what is drawn once for the phase, such as another map."""
        self.spec, self.run, self.target = spec, run, target
        self.task, self.facts = target, target.facts

    def draw(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> Batch:
        """The batch of a step, counted from the phase's start, given the one that the target drew for this step.

        `generator` is the seed's and the step's own.
        """
        return Batch(tokens, None)

    def share_solved(self, loss: NDArray[np.float64]) -> float:
        """The share of its units that are solved, from the loss of each prediction [query] of its own task, in nats."""
        progress = self.facts.progress(self.facts.mean_by_unit(loss[: self.facts.queries]))
        return float((progress >= self.run.emergence.threshold).mean())


def weigh_queries(facts: TaskFacts, loss: str) -> NDArray[np.float64]:
    """[query] weights of the predictions in the loss: of the scored ones, or of all."""
    scored = facts.scored if loss == "scored" else np.ones(facts.queries)
    return scored / scored.sum()


def weigh_sequences(task: Task, facts: TaskFacts, loss: str, tokens: NDArray[Any]) -> NDArray[np.float64]:
    """[sequence, query] the same, where a task may score other places in each sequence."""
    weights = np.tile(weigh_queries(facts, loss), (len(tokens), 1))
    order = find_order(task, tokens) if loss == "scored" else None
    if order is not None:
        np.put_along_axis(weights, order, weights.copy(), axis=1)
    return weights


def restrict(facts: TaskFacts, queries: NDArray[np.bool_]) -> TaskFacts:
    """Facts in which these queries alone are scored; units without any are left out."""
    kept = np.where(queries, facts.unit_of_query, -1)
    units = np.unique(kept[kept >= 0])
    place: Mapping[int, int] = {int(unit): i for i, unit in enumerate(units)}
    own = np.array([place.get(int(unit), -1) for unit in kept], dtype=np.int64)
    return replace(facts, units=tuple(facts.units[unit] for unit in units), unit_of_query=own)
