"""What the recall tasks share: items that end in a value are shown, then some are asked and their values follow.

An item is `width` tokens by which it is known and one token of value. All items and, after them, all that are asked
stand without separators, so that a token's place says what it is, and its symbol nothing about where to look.

The **truth** of an answer is one key: where the value of the asked item stands. That is where a query has to look; how
it knows that the value is the right one (by what stands before the value, of which the value's place has to know) is
left to the layers before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saltus.tasks.base import TaskFacts


@dataclass(frozen=True)
class Layout:
    """Where things stand in a sequence."""

    shown: int
    """Items."""
    asked: int
    """Of them, each at most once."""
    width: int
    """Tokens by which an item is known."""

    @property
    def value_keys(self) -> NDArray[np.int64]:
        """[item] the keys at which the values stand."""
        return np.arange(self.shown) * (self.width + 1) + self.width

    @property
    def answering(self) -> NDArray[np.int64]:
        """[question] the queries that predict an answer."""
        return np.arange(self.shown, self.shown + self.asked) * (self.width + 1) + self.width - 1

    def join(self, known: NDArray[np.int64], value: NDArray[np.int64]) -> NDArray[np.uint8]:
        """[sequence, item and question, width] and [sequence, item and question] -> [sequence, token]."""
        return np.concatenate([known, value[..., None]], axis=-1).reshape(len(value), -1).astype(np.uint8)

    def split(self, tokens: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """[sequence, token] -> what is known of items and of questions, [sequence, item or question, width]."""
        known = tokens.reshape(len(tokens), -1, self.width + 1)[..., : self.width]
        return known[:, : self.shown], known[:, self.shown :]

    def mark(self, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The truth map where these items are asked, [sequence, question, item] -> [sequence, query, key]."""
        queries = (self.shown + self.asked) * (self.width + 1) - 1
        truth = np.zeros((len(asked), queries, queries), dtype=np.bool_)
        truth[:, self.answering[:, None], self.value_keys] = asked
        return truth

    def describe(
        self, *, symbols: int, values: int, floor: NDArray[np.float64], corners: Sequence[str], noun: str
    ) -> TaskFacts:
        """The facts of a task in which values are uniform and the tokens before them have `symbols` symbols.

        `floor` is the smallest loss of those tokens, [item and question, width]; the values of items cost ln V and
        answers nothing. All answers are one unit, since one mechanism gives them all.
        """
        count = self.shown + self.asked
        queries = count * (self.width + 1) - 1
        answer = np.where(np.arange(count) < self.shown, np.log(values), 0.0)
        chance = np.append(np.full(self.width, np.log(symbols)), np.log(values))
        scored = np.isin(np.arange(queries), self.answering)
        return TaskFacts(
            symbols=symbols + values,
            length=queries + 1,
            units=("recall",),
            unit_of_query=np.where(scored, 0, -1),
            truth=np.zeros((queries, queries), dtype=np.bool_),
            candidates=scored[:, None] & np.isin(np.arange(queries), self.value_keys),
            chance_loss=np.tile(chance, count)[1:],
            floor_loss=np.column_stack([floor, answer]).reshape(-1)[1:],
            corners=(*corners, *self._describe_corners(values, noun)),
            varying=scored.astype(np.int64),
        )

    def _describe_corners(self, values: int, noun: str) -> tuple[str, ...]:
        if self.shown == 1:
            return (f"{noun}s = 1: there is one value to repeat; nothing has to be found.",)
        corners = [
            f"{noun.capitalize()}s stand at fixed places: a mixer whose weights depend on the position alone can bring "
            "all of them together, and find the right one without attention."
        ]
        left = self.shown - np.arange(self.asked)  # values that have not been an answer yet
        gained = 1.0 - float(np.log(left).mean() / np.log(values))
        if gained >= 0.5:
            corners.append(
                f"values = {values}: {self.shown} are shown, and a guess among those that have not been an answer yet "
                f"comes at least {gained:.0%} of the way from chance without finding the {noun}."
            )
        if self.asked == self.shown:
            corners.append(
                f"queries = {noun}s = {self.shown}: the last answer is the value that is left over, which can be had "
                f"without finding the {noun}."
            )
        if values == 2:
            corners.append("values = 2: a guess is right half of the time; read the loss and not the accuracy.")
        return tuple(corners)


def draw_distinct(generator: np.random.Generator, count: int, number: int, population: int) -> NDArray[np.int64]:
    """`number` different integers below `population`, in an order that is uniform too, [sequence, item].

    The i-th is a rank among the integers that are left, so it moves up by one for each smaller one that is taken.
    """
    drawn = np.empty((count, number), dtype=np.int64)
    taken = np.empty((count, number), dtype=np.int64)  # sorted up to i
    for i in range(number):
        rank = generator.integers(0, population - i, size=count)
        drawn[:, i] = taken[:, i] = skip_taken(rank[:, None], taken[:, :i])[:, 0]
        taken[:, : i + 1].sort(axis=1)
    return drawn


def skip_taken(rank: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks among the integers that are not `taken`, as those integers: [sequence, place], [sequence, item] sorted."""
    for i in range(taken.shape[1]):
        rank = rank + (rank >= taken[:, i, None])
    return rank


def draw_orders(generator: np.random.Generator, count: int, number: int) -> NDArray[np.int64]:
    """`count` independent orders of 0, 1, ..., number - 1, each uniform, [sequence, place]."""
    return generator.permuted(np.tile(np.arange(number), (count, 1)), axis=1)
