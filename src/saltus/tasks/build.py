"""TaskSpec -> Task; and what is known of a run's task."""

from dataclasses import replace
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


def build_task_of(spec: RunSpec, seed: int) -> Task:
    """The task that a seed of a run is trained on: that of all of them, unless each has a map of its own."""
    streams = Streams(spec.master_seed)
    return build_task(spec.task, streams.generator("task") if spec.map == "run" else streams.generator("map", seed))


def read_facts(spec: RunSpec) -> TaskFacts:
    """What is known of a run's task before training; of the map no more than how many keys a query needs, where each
    seed has one of its own.
    """
    if spec.map == "run":
        return _read_facts(spec.task.kind, spec.task.model_dump_json(), spec.master_seed)
    facts = build_task_of(spec, 0).facts
    return replace(facts, truth=np.zeros_like(facts.truth), varying=facts.needed)


@lru_cache(maxsize=4)  # the cells of a study share a few tasks, and the facts of a long context are large
def _read_facts(kind: str, description: str, master_seed: int) -> TaskFacts:
    spec = TASKS[kind].model_validate_json(description)
    return build_task(spec, Streams(master_seed).generator("task")).facts
