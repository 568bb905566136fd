"""k-of-m recall: items of m attributes and a value, asked by attributes of which k matter, the same k for a run."""

from math import comb

import numpy as np
from numpy.typing import NDArray

from saltus.specs import SubsetRecallSpec
from saltus.tasks.base import TaskFacts
from saltus.tasks.recall import Layout, draw_distinct, draw_orders


class SubsetRecall:
    """Recall by content, with a search over subsets: which k of m attributes have to agree is fixed for a run.

    A task of our own. It puts the search of the linear map, over C(m, k) subsets, into the recall of arXiv 2312.04927.
    Items differ in their k relevant attributes taken together; what is asked agrees with one item in these, and its
    other attributes are drawn anew, so they say nothing. An item is asked at most once. Attributes are the symbols 0 to
    C - 1, values those from C on. With 3 items, 1 query, m = 3, k = 2, C = 3, 4 values:

    >>> spec = SubsetRecallSpec(items=3, queries=1, attributes=3, relevant=2, symbols=3, values=4)
    >>> task = SubsetRecall(spec, np.random.default_rng(0))
    >>> task.relevant
    array([1, 2])
    >>> tokens = task.sample(np.random.default_rng(3), 1)
    >>> tokens.reshape(4, 4)  # 3 items, then the query, which agrees with the last item; the value comes last
    array([[2, 2, 1, 3],
           [0, 0, 1, 5],
           [2, 1, 0, 5],
           [0, 1, 0, 5]], dtype=uint8)
    >>> task.truth_of(tokens)[0, 14].astype(int)  # the answer, token 15, is predicted at query 14
    array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    """

    def __init__(self, spec: SubsetRecallSpec, generator: np.random.Generator) -> None:
        self._spec = spec
        self._layout = Layout(shown=spec.items, asked=spec.queries, width=spec.attributes)
        self.relevant: NDArray[np.int64] = np.sort(generator.choice(spec.attributes, spec.relevant, replace=False))
        """[k] the attributes that matter, counted from 0, one of the C(m, k) subsets drawn uniformly."""
        floor = np.full((spec.items + spec.queries, spec.attributes), np.log(spec.symbols))
        floor[:, self.relevant] = _floor(spec)
        self._facts = self._layout.describe(
            symbols=spec.symbols, values=spec.values, floor=floor, corners=_describe_corners(spec), noun="item"
        )

    @property
    def facts(self) -> TaskFacts:
        """What is known before training. The floor is exact, for a predictor that knows which attributes matter."""
        return self._facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """`count` fresh sequences, [sequence, token]."""
        spec = self._spec
        shape = (count, spec.items + spec.queries)
        known = generator.integers(0, spec.symbols, size=(*shape, spec.attributes))
        numbers = draw_distinct(generator, count, spec.items, spec.symbols**spec.relevant)
        values = generator.integers(spec.symbols, spec.symbols + spec.values, size=numbers.shape)
        asked = draw_orders(generator, count, spec.items)[:, : spec.queries]
        order = np.concatenate(
            [np.tile(np.arange(spec.items), (count, 1)), asked], axis=1
        )  # [sequence, item, question]
        numbers, values = (np.take_along_axis(part, order, axis=1) for part in (numbers, values))
        digits = spec.symbols ** np.arange(spec.relevant)
        known[..., self.relevant] = numbers[..., None] // digits % spec.symbols
        return self._layout.join(known, values)

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The place of the value of the item that agrees, [sequence, token] -> [sequence, query, key]."""
        items, asked = (part[..., self.relevant] for part in self._layout.split(tokens))
        return self._layout.mark((asked[:, :, None] == items[:, None]).all(axis=-1))


def _floor(spec: SubsetRecallSpec) -> NDArray[np.float64]:
    """[item and question, k] smallest loss of each relevant attribute: what it adds to the entropy of those before.

    An item's relevant attributes are uniform over what no item before has, a question's over the items that have not
    been asked.
    """
    rows = [_prefix_entropies(spec, taken=i) for i in range(spec.items)]
    rows += [_prefix_entropies(spec, among=spec.items - j) for j in range(spec.queries)]
    return np.diff(np.array(rows), axis=1, prepend=0.0)


def _prefix_entropies(spec: SubsetRecallSpec, *, taken: int | None = None, among: int | None = None) -> list[float]:
    """[k] mean entropy of the first 1, 2, ... attributes of one of the C**k words of k attributes.

    The word is uniform over all words but `taken` random ones, or over `among` random ones; which they are is known.
    How many of so many random words begin with given attributes is hypergeometric; the probabilities are ratios of
    exact integers.
    """
    words = spec.symbols**spec.relevant
    known = taken if taken is not None else among or 0
    result: list[float] = []
    for length in range(1, spec.relevant + 1):
        group = spec.symbols ** (spec.relevant - length)  # words that begin alike
        mean = 0.0
        for hits in range(min(known, group) + 1):
            weight = comb(group, hits) * comb(words - group, known - hits) / comb(words, known)
            share = hits / known if taken is None else (group - hits) / (words - known)
            if share > 0:
                mean -= weight * share * float(np.log(share))
        result.append(spec.symbols**length * mean)
    return result


def _describe_corners(spec: SubsetRecallSpec) -> tuple[str, ...]:
    corners: list[str] = []
    if spec.relevant == spec.attributes:
        corners.append(f"k = m = {spec.relevant}: every attribute matters; there is no subset to find.")
    words = spec.symbols**spec.relevant
    # Other items that agree with the asked one in so many of the attributes that matter, on average.
    rivals = [
        (spec.items - 1) * (spec.symbols ** (spec.relevant - agreeing) - 1) / (words - 1)
        for agreeing in range(spec.relevant)
    ]
    enough = next((agreeing for agreeing, number in enumerate(rivals) if number < 0.1), spec.relevant)
    if 0 < enough < spec.relevant:
        corners.append(
            f"Any {enough} of the k = {spec.relevant} attributes leave {rivals[enough]:.2g} other items on average, so "
            "a part of the subset is nearly enough."
        )
    return tuple(corners)
