"""Repetition of data: a pool of sequences that is drawn once, and comes back in every batch."""

import numpy as np
import torch
from torch import Tensor

from saltus.specs import RepeatSpec
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import Task
from saltus.train.interventions.base import Intervention


class Repeat(Intervention):
    """Each sequence of a batch is one of the pool with a probability; all seeds have the same pool.

    The source of the claim that this speeds the search for sparse attention is Zucchet et al. (arXiv 2505.17863).
    """

    def __init__(self, spec: RepeatSpec, model: BackboneSpec, task: Task, generator: np.random.Generator) -> None:
        """The pool is the first thing that `generator` draws."""
        super().__init__(spec, model, task, generator)
        self._repeat = spec
        self._pool = torch.from_numpy(task.sample(generator, spec.sequences))
        self._address = int(generator.integers(2**63))

    def data(self, step: int, tokens: Tensor) -> Tensor:
        """As `Intervention.data`: the batch as it was drawn from `until` on."""
        spec = self._repeat
        if spec.probability == 0.0 or (spec.until is not None and step >= spec.until):
            return tokens
        generator = np.random.default_rng([self._address, step])
        replaced = torch.from_numpy(generator.random(len(tokens)) < spec.probability).to(tokens.device)
        if spec.source == "fresh":
            others = torch.from_numpy(self.task.sample(generator, len(tokens)))
        else:
            others = self._pool[torch.from_numpy(generator.integers(len(self._pool), size=len(tokens)))]
        return torch.where(replaced[:, None], others.to(tokens), tokens)
