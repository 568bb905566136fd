"""The protocol of synthetic tasks: data whose true attention pattern is known.

Predictions are counted by **query**: query q reads tokens 0..q and predicts token q + 1, so a sequence of `length`
tokens has `length - 1` queries, and output i of a linear map of size S is predicted at query S + i - 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from saltus.errors import SaltusError

WHOLE = "whole task"
"""The unit that is there where all units of a task are there at once."""


@dataclass(frozen=True)
class TaskFacts:
    """What is known about a task before anything is trained."""

    symbols: int
    """C, the size of the vocabulary."""
    length: int
    """Tokens in a sequence."""
    units: tuple[str, ...]
    """Names of the units, such as `row 3` or `cell 0`."""
    unit_of_query: NDArray[np.int64]
    """[query] the unit that a query's prediction belongs to, -1 where the prediction is not scored."""
    truth: NDArray[np.bool_]
    """[query, key] the keys that a query needs; false for queries that are not scored.

    False everywhere where the truth varies from sequence to sequence: then `Task.truth_of` gives it.
    """
    candidates: NDArray[np.bool_]
    """[query, key] the keys among which the truth is sought (the state before, or all values that were shown), over
    which entropy is taken."""
    chance_loss: NDArray[np.float64]
    """[query] loss in nats of a uniform guess among the symbols that can stand there."""
    floor_loss: NDArray[np.float64]
    """[query] smallest reachable mean loss in nats; NaN where it is not known."""
    corners: tuple[str, ...]
    """Sentences about degenerate corners that this task sits in: ways to a good score without the true pattern."""
    varying: NDArray[np.int64] | None = None
    """[query] how many true keys a query has in each sequence, where which they are varies from sequence to sequence;
    None where one truth map holds for all."""
    reordered: bool = False
    """Whether a query here is a place in the order that `ReorderedTask.order_of` gives, and not in the sequence: for
    tasks that score other places in each sequence."""

    @classmethod
    def of(
        cls,
        *,
        symbols: int,
        length: int,
        units: Mapping[str, Sequence[int]],
        truth: NDArray[np.bool_] | Mapping[int, Sequence[int]] | None = None,
        chance: float | None = None,
        floor: float = 0.0,
        varying: int = 0,
        reordered: bool = False,
    ) -> "TaskFacts":
        """Facts of a task whose scored predictions are alike.

        `units` says by name which queries belong to a unit. `truth` is the map, or the keys of each query; without it
        the truth is not known, or, if it varies, is `varying` keys, of which True is one, for each scored query and
        sequence. `chance` and `floor` are those of a scored query, in nats: ln C and 0 unless given; a floor of NaN is
        one that is not known.

        Raises:
            SaltusError: if a query belongs to several units.

        """
        queries = length - 1
        unit_of_query, names = np.full(queries, -1), tuple(units)
        for unit, members in enumerate(units.values()):
            if twice := [query for query in members if unit_of_query[query] not in (-1, unit)]:
                raise SaltusError(
                    f"units: query {twice[0]} is in {names[unit_of_query[twice[0]]]!r} and {names[unit]!r}; a query "
                    "belongs to one unit, so give it to one of them"
                )
            unit_of_query[list(members)] = unit
        keys = np.zeros((queries, queries), np.bool_)
        if isinstance(truth, Mapping):
            for query, needed in truth.items():
                keys[query, list(needed)] = True
        elif truth is not None:
            keys = truth
        scored = unit_of_query >= 0
        unknown = "truth: which keys are needed is not known, so attention on them and overlap with them are 0."
        return cls(
            symbols=symbols,
            length=length,
            units=names,
            unit_of_query=unit_of_query,
            truth=keys,
            candidates=np.tri(queries, dtype=np.bool_),
            chance_loss=np.where(scored & (chance is not None), chance or 0.0, np.log(symbols)),
            floor_loss=np.where(scored, floor, np.nan),
            corners=() if varying or keys.any() else (unknown,),
            varying=varying * scored.astype(np.int64) if varying else None,
            reordered=reordered,
        )

    @property
    def varies(self) -> bool:
        """Whether the truth varies from sequence to sequence."""
        return self.varying is not None

    @property
    def needed(self) -> NDArray[np.int64]:
        """[query] how many true keys a query has."""
        return self.truth.sum(axis=1) if self.varying is None else self.varying

    @property
    def scored(self) -> NDArray[np.bool_]:
        """[query] whether the prediction is scored."""
        return self.unit_of_query >= 0

    @property
    def queries(self) -> int:
        """Number of predictions in a sequence."""
        return self.length - 1

    def mean_by_unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over each unit's queries: [..., query] -> [..., unit]. Queries of no unit may have any value, or NaN."""
        # Row by row, and not as a product: a mean of ones is 1, and no mean depends on the rows beside it.
        own = [np.flatnonzero(self.unit_of_query == unit) for unit in range(len(self.units))]
        return np.stack([values.take(queries, axis=-1).mean(-1, dtype=np.float64) for queries in own], axis=-1)

    def progress(self, unit_loss: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the way from chance to floor loss, [..., unit] -> [..., unit]; 1 is solved, 0 is chance.

        Where the floor is not known it is taken as 0, which makes the share a lower bound. Where it is chance itself
        nothing can be learned, and the share is 0.
        """
        chance = self.mean_by_unit(self.chance_loss)
        way = chance - self.mean_by_unit(np.nan_to_num(self.floor_loss, nan=0.0))
        return np.where(way > 0, chance - unit_loss, 0.0) / np.where(way > 0, way, 1.0)


class Task(Protocol):
    """A task: facts that do not change, and fresh data without end."""

    @property
    def facts(self) -> TaskFacts:
        """What is known before training."""
        ...

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[Any]:
        """`count` fresh sequences, [sequence, token]: uint8, or int32 where there are more than 256 symbols."""
        ...

    def truth_of(self, tokens: NDArray[Any]) -> NDArray[np.bool_]:
        """The keys that each query needs in each of these sequences, [sequence, token] -> [sequence, query, key].

        A view of `facts.truth` for each sequence where that holds for all.
        """
        ...


class ReorderedTask(Task, Protocol):
    """A task that scores other places in each sequence, as many in each: `facts.reordered` is true.

    Whatever is recorded by query is then recorded in the order of the facts. Influence is not: it is by place.
    """

    def order_of(self, tokens: NDArray[Any]) -> NDArray[np.int64]:
        """[sequence, token] -> [sequence, query]: the query of the sequence that stands at each place of the facts.

        Each row has every query once.
        """
        ...


class ThinTask(Task, Protocol):
    """A task whose queries can need fewer keys."""

    def thin(self, keys: int, generator: np.random.Generator) -> Task:
        """The same task with fewer keys for each query, whose truth is a part of this one's; sequences are as long.

        Raises:
            SaltusError: if there is no such task.

        """
        ...


class InputTask(Task, Protocol):
    """A task whose sequences follow from inputs, the tokens at their beginning, which are uniform unless given."""

    @property
    def inputs(self) -> int:
        """How many tokens."""
        ...

    def complete(self, inputs: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """[sequence, input] -> [sequence, token]."""
        ...


def find_order(task: Task, tokens: NDArray[Any]) -> NDArray[np.int64] | None:
    """What `ReorderedTask.order_of` gives; None where the facts have the order of the sequences."""
    return cast("ReorderedTask", task).order_of(tokens) if task.facts.reordered else None


def require_fewer(keys: int, needed: int, *, odd: bool = False) -> None:
    """Refuse to thin a task to as many keys as its queries need, or more."""
    if needed == 1:
        raise SaltusError(
            f"keys: {keys} was given, and each query of the target needs one alone; there is nothing to thin, so take "
            "another kind of phase"
        )
    if keys >= needed or (odd and keys % 2 == 0):
        raise SaltusError(
            f"keys: {keys} was given, and each query of the target needs {needed}; allowed are "
            f"{'odd numbers from 1' if odd else '1'} to {needed - (2 if odd else 1)}"
        )


def put_last(scored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """An order for `ReorderedTask.order_of` from what is scored, both [sequence, query]: that comes last, as it stands.

    So no query comes earlier in the facts than in its sequence if it is scored.
    """
    return np.argsort(scored, axis=1, kind="stable")
