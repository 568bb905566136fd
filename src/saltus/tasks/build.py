"""TaskSpec -> Task, an explicit table."""

import numpy as np

from saltus.specs import (
    AssociativeRecallSpec,
    CellularAutomatonSpec,
    InductionSpec,
    LinearMapSpec,
    NoiseSpec,
    SubsetRecallSpec,
)
from saltus.specs.tasks import TaskSpec
from saltus.tasks.associative_recall import AssociativeRecall
from saltus.tasks.base import Task
from saltus.tasks.cellular_automaton import CellularAutomaton
from saltus.tasks.induction import Induction
from saltus.tasks.linear_map import LinearMap
from saltus.tasks.noise import Noise
from saltus.tasks.subset_recall import SubsetRecall


def build_task(spec: TaskSpec, generator: np.random.Generator) -> Task:
    """The task that `spec` describes; what is drawn once for a run (a map, a pool of rules) comes from `generator`."""
    match spec:
        case LinearMapSpec():
            return LinearMap(spec, generator)
        case CellularAutomatonSpec():
            return CellularAutomaton(spec, generator)
        case AssociativeRecallSpec():
            return AssociativeRecall(spec)
        case InductionSpec():
            return Induction(spec)
        case SubsetRecallSpec():
            return SubsetRecall(spec, generator)
        case NoiseSpec():
            return Noise(spec)
