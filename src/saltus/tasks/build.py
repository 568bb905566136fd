"""TaskSpec -> Task, an explicit table."""

import numpy as np

from saltus.specs import CellularAutomatonSpec, LinearMapSpec
from saltus.tasks.base import Task
from saltus.tasks.cellular_automaton import CellularAutomaton
from saltus.tasks.linear_map import LinearMap


def build_task(spec: LinearMapSpec | CellularAutomatonSpec, generator: np.random.Generator) -> Task:
    """The task that `spec` describes; what is drawn once for a run (a map, a pool of rules) comes from `generator`."""
    match spec:
        case LinearMapSpec():
            return LinearMap(spec, generator)
        case CellularAutomatonSpec():
            return CellularAutomaton(spec, generator)
