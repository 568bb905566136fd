"""Associative recall: pairs of keys and values, fresh in each sequence, then keys whose values are asked."""

import numpy as np
from numpy.typing import NDArray

from saltus.specs import AssociativeRecallSpec
from saltus.tasks.base import TaskFacts
from saltus.tasks.recall import Layout, draw_orders


class AssociativeRecall:
    """Keys in an order of their own in each sequence, so that where to look depends on content alone.

    In the manner of multi-query associative recall (arXiv 2312.04927); here every query follows the last pair, and a
    key is asked at most once, so that its value stands in one place. The K keys are the symbols 0 to K - 1, the V
    values those from K on, drawn independently. With 3 pairs, 2 queries, K = 4, V = 6:

    >>> task = AssociativeRecall(AssociativeRecallSpec(pairs=3, queries=2, keys=4, values=6))
    >>> tokens = task.sample(np.random.default_rng(3), 1)
    >>> tokens.reshape(5, 2).T  # above the keys, 3 shown and 2 asked, below their values
    array([[3, 2, 1, 1, 3],
           [5, 8, 9, 9, 5]], dtype=uint8)
    >>> task.truth_of(tokens)[0, 6].astype(int)  # the first answer, token 7, is predicted at query 6
    array([0, 0, 0, 0, 0, 1, 0, 0, 0])
    """

    def __init__(self, spec: AssociativeRecallSpec, _generator: np.random.Generator | None = None) -> None:
        self._spec = spec
        self._layout = Layout(shown=spec.pairs, asked=spec.queries, width=1)
        free = spec.keys - np.arange(spec.pairs)  # keys that have not been shown, then pairs that have not been asked
        floor = np.log(np.append(free, spec.pairs - np.arange(spec.queries)))
        self._facts = self._layout.describe(
            symbols=spec.keys, values=spec.values, floor=floor[:, None], corners=(), noun="pair"
        )

    @property
    def facts(self) -> TaskFacts:
        """What is known before training.

        The floor is exact: a shown key is one of those that have not been shown, an asked key one of those that have
        not been asked.
        """
        return self._facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """`count` fresh sequences, [sequence, token]."""
        spec = self._spec
        keys = draw_orders(generator, count, spec.keys)[:, : spec.pairs]
        values = generator.integers(spec.keys, spec.keys + spec.values, size=keys.shape)
        asked = draw_orders(generator, count, spec.pairs)[:, : spec.queries]
        both = [np.concatenate([part, np.take_along_axis(part, asked, axis=1)], axis=1) for part in (keys, values)]
        return self._layout.join(both[0][..., None], both[1])

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The place of the value of each asked key, [sequence, token] -> [sequence, query, key]."""
        keys, asked = self._layout.split(tokens)
        return self._layout.mark(asked == keys[..., 0][:, None])
