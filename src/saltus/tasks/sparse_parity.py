"""Sparse parity: which few of many bits matter has to be found without a hint from fewer of them."""

import numpy as np
from numpy.typing import NDArray

from saltus.specs import SparseParitySpec
from saltus.tasks.base import TaskFacts


class SparseParity:
    """n uniform bits, then the parity of k of them, which are drawn once (arXiv 2207.08799). With n = 5, k = 2:

    >>> task = SparseParity(SparseParitySpec(bits=5, subset=2), np.random.default_rng(0))
    >>> task.subset
    array([3, 4])
    >>> task.sample(np.random.default_rng(0), 2)  # the last token is that of bits 3 and 4, added mod 2
    array([[0, 1, 1, 1, 1, 0],
           [1, 0, 1, 0, 1, 1]], dtype=uint8)
    >>> task.facts.truth[4].astype(int)
    array([0, 0, 0, 1, 1])
    """

    def __init__(self, spec: SparseParitySpec, generator: np.random.Generator) -> None:
        self._bits = spec.bits
        self.subset = np.sort(generator.choice(spec.bits, size=spec.subset, replace=False))
        self._facts = TaskFacts.of(
            symbols=2,
            length=spec.bits + 1,
            units={"parity": [spec.bits - 1]},
            truth={spec.bits - 1: self.subset.tolist()},
        )

    @property
    def facts(self) -> TaskFacts:
        """What is known before training; the floor of the parity is exactly 0."""
        return self._facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """`count` fresh sequences, [sequence, token]."""
        bits = generator.integers(0, 2, size=(count, self._bits), dtype=np.uint8)
        return np.column_stack([bits, bits[:, self.subset].sum(1) % 2]).astype(np.uint8)

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The same truth map for every sequence: [sequence, token] -> [sequence, query, key]."""
        return np.broadcast_to(self.facts.truth, (len(tokens), *self.facts.truth.shape))
