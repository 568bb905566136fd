"""Multi-query associative recall: keys are asked at places that differ from sequence to sequence."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.specs import MultiQueryRecallSpec
from saltus.tasks.base import TaskFacts, put_last
from saltus.tasks.recall import draw_distinct, skip_taken


class MultiQueryRecall:
    """D pairs; then each of their keys once, followed by its value, among filler (arXiv 2312.04927).

    After the pairs come places of two tokens. Which places the D keys take is drawn without replacement, the i-th place
    in proportion to i**(a - 1), as zoology draws it, so distances follow a power law. Filler is uniform over all
    symbols but the keys of the sequence: so whether a token asks for something is for its content to say, and never in
    doubt. Here the value follows its key, as in the paper; zoology's code has filler there and the value as a label.

    The facts have the answers at the end, in the order in which they are asked (`order_of`); the **truth** of each is
    one key, the place of its value among the pairs. The K keys are the symbols 0 to K - 1, the values those from K on.
    With 2 pairs, 12 tokens, K = 4, V = 3:

    >>> task = MultiQueryRecall(MultiQueryRecallSpec(pairs=2, length=12, keys=4, values=3))
    >>> tokens = task.sample(np.random.default_rng(7), 1)
    >>> tokens.reshape(6, 2).T  # 2 pairs, then 4 places, of which the first and the last ask
    array([[3, 1, 3, 6, 0, 1],
           [6, 6, 6, 2, 2, 6]], dtype=uint8)
    >>> task.order_of(tokens)[0]  # queries 4 and 10 predict the answers
    array([ 0,  1,  2,  3,  5,  6,  7,  8,  9,  4, 10])
    >>> np.argwhere(task.truth_of(tokens)[0])  # [query, key]
    array([[ 4,  1],
           [10,  3]])
    """

    def __init__(self, spec: MultiQueryRecallSpec, _generator: np.random.Generator | None = None) -> None:
        self._spec = spec
        queries = spec.length - 1
        scored = np.arange(queries) >= queries - spec.pairs
        values = np.isin(np.arange(queries), np.arange(1, 2 * spec.pairs, 2))
        self._facts = TaskFacts(
            symbols=spec.vocabulary,
            length=spec.length,
            units=("recall",),
            unit_of_query=np.where(scored, 0, -1),
            truth=np.zeros((queries, queries), np.bool_),
            candidates=scored[:, None] & values,
            chance_loss=np.where(scored, np.log(spec.values), np.log(spec.vocabulary)),
            floor_loss=np.where(scored, 0.0, np.nan),
            corners=_describe_corners(spec),
            varying=scored.astype(np.int64),
            reordered=True,
        )

    @property
    def facts(self) -> TaskFacts:
        """What is known before training. All answers are one unit, since one mechanism gives them all."""
        return self._facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[Any]:
        """`count` fresh sequences, [sequence, token]."""
        spec = self._spec
        pairs, places = spec.pairs, spec.length // 2 - spec.pairs
        keys = draw_distinct(generator, count, pairs, spec.keys)
        values = generator.integers(spec.keys, spec.vocabulary, size=keys.shape)
        filler = generator.integers(0, spec.vocabulary - pairs, size=(count, 2 * places))
        tokens = np.empty((count, spec.length), np.uint8 if spec.vocabulary <= 256 else np.int32)
        tokens[:, : 2 * pairs : 2], tokens[:, 1 : 2 * pairs : 2] = keys, values
        tokens[:, 2 * pairs :] = skip_taken(filler, np.sort(keys, axis=1))
        # The largest of log-weights with Gumbel noise are a draw without replacement (arXiv 1903.06059).
        weight = (spec.power - 1.0) * np.log(np.arange(1, places + 1)) + generator.gumbel(size=(count, places))
        chosen = 2 * (pairs + np.argsort(-weight, axis=1)[:, :pairs])
        np.put_along_axis(tokens, chosen, keys.astype(tokens.dtype), axis=1)
        np.put_along_axis(tokens, chosen + 1, values.astype(tokens.dtype), axis=1)
        return tokens

    def order_of(self, tokens: NDArray[Any]) -> NDArray[np.int64]:
        """As `ReorderedTask.order_of`: the answers last, in the order in which they are asked."""
        return put_last(np.asarray(self._find_asked(tokens).any(axis=-1)))

    def truth_of(self, tokens: NDArray[Any]) -> NDArray[np.bool_]:
        """Where the value of what a query asks was shown, [sequence, token] -> [sequence, query, key]."""
        queries = tokens.shape[1] - 1
        truth = np.zeros((len(tokens), queries, queries), np.bool_)
        truth[:, :, 1 : 2 * self._spec.pairs : 2] = self._find_asked(tokens)
        return truth

    def _find_asked(self, tokens: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pair a query asks for, [sequence, query, pair]."""
        shown = 2 * self._spec.pairs
        asked: NDArray[np.bool_] = tokens[:, :-1, None] == tokens[:, None, :shown:2]
        asked[:, :shown] = False
        return asked


def _describe_corners(spec: MultiQueryRecallSpec) -> tuple[str, ...]:
    if spec.pairs == 1:
        return ("pairs = 1: there is one value to repeat; nothing has to be found.",)
    corners: list[str] = []
    if spec.length == 4 * spec.pairs:
        corners.append(
            f"length = 4 * pairs = {spec.length}: every place is asked, so there is no filler, and only the order in "
            "which keys are asked differs from sequence to sequence."
        )
    left = np.arange(1, spec.pairs + 1)  # values that have not been an answer yet
    gained = 1.0 - float(np.log(left).mean() / np.log(spec.values))
    if gained >= 0.5:
        corners.append(
            f"values = {spec.values}: {spec.pairs} are shown, and a guess among those that have not been an answer yet "
            f"comes at least {gained:.0%} of the way from chance without finding the pair."
        )
    corners.append("pairs: the last answer is the value that is left over, which can be had without finding the pair.")
    if spec.values == 2:
        corners.append("values = 2: a guess is right half of the time; read the loss and not the accuracy.")
    return tuple(corners)
