"""Repetition of data: a pool of sequences that is drawn once, and comes back in every batch."""

import numpy as np
from torch import Tensor

from saltus.lm.pocket.interventions.base import Around, Intervention
from saltus.specs import RepeatSpec
from saltus.train.interventions.repeat import Pool


class Repeat(Intervention):
    """As in runs on tasks, with sequences of the suite's corpus."""

    def __init__(self, spec: RepeatSpec, around: Around, generator: np.random.Generator) -> None:
        super().__init__(spec, around, generator)
        length = around.suite.length
        self._pool = Pool(spec, lambda source, number: around.corpus.draw(source, number, length), generator)

    def data(self, step: int, tokens: Tensor, generator: np.random.Generator) -> Tensor:
        """As `Intervention.data`."""
        return self._pool.exchange(step, tokens, generator)
