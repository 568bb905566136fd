"""What one evaluation of one seed gives: measures of the model, and what the batches since the one before cost."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fit:
    """How well one seed predicts: on its training set, where data are finite; or without its interventions."""

    loss: NDArray[np.float64]
    """[query] mean loss of each prediction, in nats."""
    accuracy: NDArray[np.float64]
    """[query] share of sequences whose likeliest token is the target."""


class Standing(NamedTuple):
    """Where a seed stands in its curriculum, and what its steps have cost since the start."""

    phase: int
    """In which the next step is, from 0; the number of phases is the target."""
    solved: float
    """Share of the units of the phase before this evaluation that are solved; NaN where that phase does not ask."""
    tokens: float
    operations: float
    """As of `count_spent`."""


@dataclass(frozen=True)
class Evaluation:
    """Measures of one seed on the run's evaluation sequences. Losses and entropies in nats."""

    loss: NDArray[np.float64]
    """[query] mean loss of each prediction."""
    accuracy: NDArray[np.float64]
    """[query] share of sequences whose likeliest token is the target."""
    target_probability: NDArray[np.float64]
    """[query] mean probability of the target."""
    exact_sequences: float
    """Share of sequences with every scored token right."""
    entropy: NDArray[np.float64]
    """[layer, head, query] mean of -sum a log a over the candidate keys (the paper: keys of the state before)."""
    truth_mass: NDArray[np.float64]
    """[layer, head, query] attention on the true keys."""
    overlap: NDArray[np.float64]
    """[layer, head, query] share of the s true keys among the s most attended keys.

    Mass and overlap are those of the mean pattern where one truth holds for all sequences, otherwise the mean over
    sequences of what each has with its own truth.
    """
    pattern: NDArray[np.float32]
    """[layer, head, query, key] attention, mean over the sequences. No layer, here and above, if it is not measured."""
    fit: Fit | None = None
    """On the training set; None where data are fresh."""
    free: Fit | None = None
    """On the evaluation sequences without the interventions; None where none changes what the model computes."""
    standing: "Standing | None" = None
    """In the curriculum; None where there is none."""


class TrainLoss(NamedTuple):
    """What the batches of one seed cost over some steps, in nats."""

    steps: int
    total: float
    """The sum over the batches."""
    lowest: float
    """The smallest of a single batch; infinite where there was none."""

    @property
    def mean(self) -> float:
        """Of the batches; NaN where there was none."""
        return self.total / self.steps if self.steps else math.nan

    def join(self, other: "TrainLoss") -> "TrainLoss":
        """That of both."""
        return TrainLoss(self.steps + other.steps, self.total + other.total, min(self.lowest, other.lowest))


@dataclass(frozen=True)
class PooledUnits:
    """What the means of logits of K seeds know."""

    size: int
    """K"""
    choices: int
    """Choices of K seeds that were measured."""
    progress: NDArray[np.float64]
    """[choice, unit] share of the way from chance to floor loss."""
