"""Some units first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import RowsPhase, RunSpec
from saltus.tasks.base import Task
from saltus.train.phases.base import Batch, Phase, restrict, weigh_queries


class Rows(Phase):
    """The loss leaves out the predictions of all units but some, so these have no gradient; the data are the same."""

    def __init__(self, spec: RowsPhase, run: RunSpec, target: Task, generator: np.random.Generator) -> None:
        """Refused where the task has not so many units, or a unit has other places in each sequence."""
        super().__init__(spec, run, target, generator)
        facts, units = target.facts, len(target.facts.units)
        if facts.reordered:
            raise SaltusError(
                f"curriculum: a phase of kind 'rows' was given, and a task of kind {run.task.kind!r} scores other "
                "places in each sequence; take a phase of another kind"
            )
        if max(spec.units or (0,)) >= units or (spec.number or 1) > units:
            asked = f"the units {', '.join(map(str, spec.units))}" if spec.units else f"{spec.number} units"
            raise SaltusError(
                f"curriculum: a phase of kind 'rows' is of {asked}, and the task has the units 0 to {units - 1}"
            )
        self._weights = weigh_queries(facts, run.training.loss)
        self._number, self._units = spec.number or 0, units
        self._chosen: NDArray[np.int64] | None = None
        if spec.units is not None:
            self._chosen = np.array(spec.units)
        elif spec.choice == "first":
            self._chosen = np.arange(self._number)
        elif spec.choice == "drawn":
            self._chosen = self._draw_units(generator)
        if self._chosen is not None:
            self.facts = restrict(facts, np.isin(facts.unit_of_query, self._chosen))

    def draw(self, step: int, tokens: NDArray[Any], generator: np.random.Generator) -> Batch:
        """As `Phase.draw`: the batch that the target drew."""
        chosen = self._draw_units(generator) if self._chosen is None else self._chosen
        unit = self.target.facts.unit_of_query
        weights = self._weights * ((unit < 0) | np.isin(unit, chosen))
        return Batch(tokens, np.tile(weights / weights.sum(), (len(tokens), 1)))

    def _draw_units(self, generator: np.random.Generator) -> NDArray[np.int64]:
        return np.sort(generator.choice(self._units, self._number, replace=False))
