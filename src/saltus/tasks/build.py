"""TaskSpec -> Task; and what is known of a run's task."""

from functools import lru_cache

import numpy as np

from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.specs.kinds import find_class
from saltus.specs.tasks import TASKS, TaskSpec
from saltus.tasks.base import Task, TaskFacts


def build_task(spec: TaskSpec, generator: np.random.Generator) -> Task:
    """The task that `spec` describes; what is drawn once for a run (a map, a pool of rules) comes from `generator`."""
    return find_class(spec.builds)(spec, generator)


def read_facts(spec: RunSpec) -> TaskFacts:
    """What is known of a run's task before training."""
    return _read_facts(spec.task.kind, spec.task.model_dump_json(), spec.master_seed)


@lru_cache(maxsize=4)  # the cells of a study share a few tasks, and the facts of a long context are large
def _read_facts(kind: str, description: str, master_seed: int) -> TaskFacts:
    spec = TASKS[kind].model_validate_json(description)
    return build_task(spec, Streams(master_seed).generator("task")).facts
