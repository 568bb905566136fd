"""Finite data: a training set and a test set of sequences that all differ."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import DataSpec
from saltus.tasks.base import Task

_PATIENCE = 20
"""Draws in a row, each of as many sequences as are missing or more, that may bring nothing new."""


def draw_sets(spec: DataSpec, task: Task, generator: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """The training set and the test set, [sequence, token] each: different sequences in the order of their first draw.

    Raises:
        SaltusError: if the task does not have so many.

    """
    wanted = spec.train + spec.test
    found = _drop_equal(task.sample(generator, max(wanted, 256)))
    idle = 0
    while len(found) < wanted and idle < _PATIENCE:
        before = len(found)
        found = _drop_equal(np.concatenate([found, task.sample(generator, max(wanted - before, 256))]))
        idle = 0 if len(found) > before else idle + 1
    if len(found) < wanted:
        raise SaltusError(
            f"data: train {spec.train} and test {spec.test} were given, and only {len(found)} different sequences were "
            "drawn; make train and test smaller, or the task larger"
        )
    return found[: spec.train], found[spec.train : wanted]


def _drop_equal(sequences: NDArray[Any]) -> NDArray[Any]:
    """Each of the sequences once, where it comes first."""
    return sequences[np.sort(np.unique(sequences, axis=0, return_index=True)[1])]
