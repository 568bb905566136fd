"""Modular addition: p * p sequences in all, so that a training set can leave some out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.specs import ModularAdditionSpec
from saltus.tasks.base import TaskFacts


class ModularAddition:
    """a, b, =, a + b mod p (arXiv 2201.02177). With p = 5, where = is the symbol 5:

    >>> ModularAddition(ModularAdditionSpec(modulus=5)).sample(np.random.default_rng(0), 2)
    array([[4, 3, 5, 2],
           [2, 1, 5, 3]], dtype=uint8)
    """

    def __init__(self, spec: ModularAdditionSpec, _generator: np.random.Generator | None = None) -> None:
        self._modulus = spec.modulus
        self._facts = TaskFacts.of(
            symbols=spec.modulus + 1,
            length=4,
            units={"sum": [2]},
            truth={2: [0, 1]},
            chance=float(np.log(spec.modulus)),
        )

    @property
    def facts(self) -> TaskFacts:
        """What is known before training; the floor of the sum is exactly 0."""
        return self._facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[Any]:
        """`count` fresh sequences, [sequence, token]."""
        added = generator.integers(0, self._modulus, size=(count, 2))
        sign = np.full(count, self._modulus)
        tokens = np.column_stack([added, sign, added.sum(1) % self._modulus])
        return tokens.astype(np.uint8 if self._modulus < 256 else np.int32)

    def truth_of(self, tokens: NDArray[Any]) -> NDArray[np.bool_]:
        """The same truth map for every sequence: [sequence, token] -> [sequence, query, key]."""
        return np.broadcast_to(self.facts.truth, (len(tokens), *self.facts.truth.shape))
