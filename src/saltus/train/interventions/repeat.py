"""Repetition of data: a pool of sequences that is drawn once, and comes back in every batch."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltus.specs import RepeatSpec
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import Task
from saltus.train.interventions.base import Intervention

Sample = Callable[[np.random.Generator, int], NDArray[np.int64]]
"""From a generator and a number, so many sequences, [sequence, token]."""


class Pool:
    """Each sequence of a batch is one of the pool with a probability; all seeds have one pool, and each its own choice.

    The source of the claim that this speeds the search for sparse attention is Zucchet et al. (arXiv 2505.17863).
    """

    def __init__(self, spec: RepeatSpec, sample: Sample, generator: np.random.Generator) -> None:
        """`generator` draws the pool."""
        self._spec, self._sample = spec, sample
        self._pool = torch.from_numpy(sample(generator, spec.sequences))

    def exchange(self, step: int, tokens: Tensor, generator: np.random.Generator) -> Tensor:
        """The batch to train on, [sequence, token]: as it was drawn from `until` on."""
        spec = self._spec
        if spec.probability == 0.0 or (spec.until is not None and step >= spec.until):
            return tokens
        replaced = torch.from_numpy(generator.random(len(tokens)) < spec.probability).to(tokens.device)
        if spec.source == "fresh":
            others = torch.from_numpy(self._sample(generator, len(tokens)))
        else:
            others = self._pool[torch.from_numpy(generator.integers(len(self._pool), size=len(tokens)))]
        return torch.where(replaced[:, None], others.to(tokens), tokens)


class Repeat(Intervention):
    """A pool of sequences of the task."""

    def __init__(self, spec: RepeatSpec, model: BackboneSpec, task: Task, generator: np.random.Generator) -> None:
        super().__init__(spec, model, task, generator)
        self._pool = Pool(spec, task.sample, generator)

    def data(self, step: int, tokens: Tensor, generator: np.random.Generator) -> Tensor:
        """As `Intervention.data`."""
        return self._pool.exchange(step, tokens, generator)
