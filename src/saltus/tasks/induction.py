"""Repetition in context: a string and its repetition, in which the next symbol is the one that came next before."""

import numpy as np
from numpy.typing import NDArray

from saltus.specs import InductionSpec
from saltus.tasks.base import TaskFacts
from saltus.tasks.recall import draw_orders


class Induction:
    """A string of different symbols, repeated (the sequences on which induction heads are found, arXiv 2209.11895).

    The length P of the string is drawn for each sequence, uniformly from the shortest to the longest, so that how far
    back to look depends on content: a symbol is followed by what followed it before. A sequence ends before any symbol
    comes a third time, so that this stands in one place. The truth of a query is that place, P - 1 keys back; that the
    symbol before it is the query's own is for an earlier layer to know. Scored are the queries that every sequence
    answers: those whose own symbol is in the repetition even of the longest string. With C = 9 and P from 5 to 7:

    >>> task = Induction(InductionSpec(symbols=9, length=10, shortest=5, longest=7))
    >>> tokens = task.sample(np.random.default_rng(4), 2)
    >>> tokens  # the string has length 5, then 6
    array([[0, 1, 2, 8, 6, 0, 1, 2, 8, 6],
           [3, 5, 8, 0, 7, 1, 3, 5, 8, 0]], dtype=uint8)
    >>> task.truth_of(tokens)[:, 7].astype(int)  # token 8, the first that is scored, is predicted at query 7
    array([[0, 0, 0, 1, 0, 0, 0, 0, 0],
           [0, 0, 1, 0, 0, 0, 0, 0, 0]])
    """

    def __init__(self, spec: InductionSpec, _generator: np.random.Generator | None = None) -> None:
        self._spec = spec
        queries = spec.length - 1
        query = np.arange(queries)
        scored = query >= spec.longest
        back = query[:, None] - query[None, :]  # [query, key]
        self._facts = TaskFacts(
            symbols=spec.symbols,
            length=spec.length,
            units=("repetition",),
            unit_of_query=np.where(scored, 0, -1),
            truth=np.zeros((queries, queries), dtype=np.bool_),
            candidates=scored[:, None] & (back >= spec.shortest - 1) & (back <= spec.longest - 1),
            chance_loss=np.full(queries, np.log(spec.symbols)),
            floor_loss=_floor(spec),
            corners=_describe_corners(spec),
            varying=scored.astype(np.int64),
        )

    @property
    def facts(self) -> TaskFacts:
        """What is known before training. All answers are one unit, since one mechanism gives them all.

        The floor is exact: before the repetition the next symbol is the first one again, if the string can end here,
        or any that has not come; from its first symbol on everything is certain.
        """
        return self._facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """`count` fresh sequences, [sequence, token]."""
        spec = self._spec
        string = draw_orders(generator, count, spec.symbols)
        period = generator.integers(spec.shortest, spec.longest + 1, size=(count, 1))
        return np.take_along_axis(string, np.arange(spec.length) % period, axis=1).astype(np.uint8)

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where each scored query's symbol was followed before, [sequence, token] -> [sequence, query, key]."""
        queries = self._facts.queries
        seen = tokens[:, :queries]
        same = seen[:, :, None] == seen[:, None, :]  # [sequence, query, key], at the query itself too
        truth = np.zeros(same.shape, dtype=np.bool_)
        truth[:, :, 1:] = same[:, :, :-1]
        return truth & np.tri(queries, dtype=np.bool_) & self._facts.scored[:, None]


def _floor(spec: InductionSpec) -> NDArray[np.float64]:
    """[query] the exact floor."""
    floor = np.zeros(spec.length - 1)
    for query in range(spec.longest):
        fresh = spec.symbols - query - 1  # symbols that have not come
        open_ = spec.longest - max(spec.shortest, query + 1) + 1  # lengths that the string may still have
        ending = 1.0 / open_ if query + 1 >= spec.shortest else 0.0  # the string ends here
        entropy = -sum(p * np.log(p) for p in (ending, 1.0 - ending) if p > 0)
        if ending < 1.0:
            entropy += (1.0 - ending) * np.log(fresh)
        floor[query] = open_ / (spec.longest - spec.shortest + 1) * entropy
    return floor


def _describe_corners(spec: InductionSpec) -> tuple[str, ...]:
    corners: list[str] = []
    if spec.shortest == spec.longest:
        corners.append(
            f"shortest = longest = {spec.longest}: the answer always stands {spec.longest - 1} keys back, so the place "
            "says where to look and the content is not needed."
        )
    period = np.arange(spec.shortest, spec.longest + 1)[:, None]
    left = 2 * period - np.arange(spec.longest, spec.length - 1) - 1  # symbols of the string that have not come again
    gained = 1.0 - float(np.log(left).mean() / np.log(spec.symbols))
    if gained >= 0.5:
        corners.append(
            f"length = {spec.length}: a guess among the symbols that have come once comes {gained:.0%} of the way from "
            "chance without looking at what followed before."
        )
    return tuple(corners)
