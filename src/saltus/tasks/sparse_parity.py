"""Sparse parity: which few of many bits matter has to be found without a hint from fewer of them."""

import numpy as np
from numpy.typing import NDArray

from saltus.specs import SparseParitySpec
from saltus.tasks.base import TaskFacts, require_fewer


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

    def __init__(
        self, spec: SparseParitySpec, generator: np.random.Generator, subset: NDArray[np.int64] | None = None
    ) -> None:
        """`subset` are the bits that are added, if they are not to be drawn."""
        self._spec, self._bits = spec, spec.bits
        if subset is None:
            subset = np.sort(generator.choice(spec.bits, size=spec.subset, replace=False))
        self.subset = subset
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
        return self.complete(generator.integers(0, 2, size=(count, self._bits), dtype=np.uint8), generator)

    @property
    def inputs(self) -> int:
        """As of an `InputTask`: the bits."""
        return self._bits

    def complete(self, inputs: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        """The bits and their parity, [sequence, input] -> [sequence, token]; nothing is drawn."""
        return np.column_stack([inputs, inputs[:, self.subset].sum(1) % 2]).astype(np.uint8)

    def thin(self, keys: int, generator: np.random.Generator) -> "SparseParity":
        """As of a `ThinTask`: the parity of the first of the bits that are added."""
        require_fewer(keys, len(self.subset))
        return SparseParity(self._spec.model_copy(update={"subset": keys}), generator, self.subset[:keys])

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The same truth map for every sequence: [sequence, token] -> [sequence, query, key]."""
        return np.broadcast_to(self.facts.truth, (len(tokens), *self.facts.truth.shape))
