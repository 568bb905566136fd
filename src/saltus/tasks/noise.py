"""Noise: a task that cannot be learned, as a control."""

import numpy as np
from numpy.typing import NDArray

from saltus.specs import NoiseSpec
from saltus.tasks.base import TaskFacts


class Noise:
    """Every token is drawn uniformly and independently of all others, so nothing that came before says what comes next.

    A model whose loss goes below chance here has seen the token that it was to predict. No key is needed and no unit
    can be learned. With C = 3:

    >>> Noise(NoiseSpec(length=6, symbols=3)).sample(np.random.default_rng(0), 2)
    array([[1, 1, 2, 2, 2, 2],
           [0, 1, 0, 2, 2, 1]], dtype=uint8)
    """

    def __init__(self, spec: NoiseSpec, _generator: np.random.Generator | None = None) -> None:
        self._spec = spec
        queries = spec.length - 1
        chance = np.full(queries, np.log(spec.symbols))
        self._facts = TaskFacts(
            symbols=spec.symbols,
            length=spec.length,
            units=("tokens",),
            unit_of_query=np.zeros(queries, dtype=np.int64),
            truth=np.zeros((queries, queries), dtype=np.bool_),
            candidates=np.tri(queries, dtype=np.bool_),
            chance_loss=chance,
            floor_loss=chance,
            corners=("noise: the floor is chance, so there is nothing to learn and no unit ever emerges.",),
        )

    @property
    def facts(self) -> TaskFacts:
        """What is known before training."""
        return self._facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """`count` fresh sequences, [sequence, token]."""
        return generator.integers(0, self._spec.symbols, size=(count, self._spec.length), dtype=np.uint8)

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """No key for any query: [sequence, token] -> [sequence, query, key]."""
        return np.broadcast_to(self.facts.truth, (len(tokens), *self.facts.truth.shape))
