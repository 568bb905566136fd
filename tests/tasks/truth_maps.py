"""What is asked of truth maps that differ from sequence to sequence."""

import numpy as np
from numpy.typing import NDArray

from saltus.tasks.base import Task


def read_truth(task: Task, sequences: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The truth of each sequence, [sequence, query, key], which has to be as the facts say of all of them."""
    facts = task.facts
    truth = task.truth_of(sequences)
    np.testing.assert_array_equal(truth.sum(axis=2), np.tile(facts.needed, (len(sequences), 1)))
    np.testing.assert_array_equal(facts.needed, facts.scored)
    assert not (truth & ~facts.candidates).any()
    assert not facts.truth.any()
    return truth


def solve(tokens: list[int], query: int) -> int:
    """The token after the first earlier token that equals the one at the query."""
    return tokens[tokens.index(tokens[query], 0, query) + 1]


def check_truth(task: Task, sequences: NDArray[np.uint8]) -> None:
    """Another token at the true key is another answer; at any but it, the one before and the query, it is the same."""
    facts = task.facts
    for tokens, true in zip(sequences.tolist(), read_truth(task, sequences), strict=True):
        for query in np.flatnonzero(facts.scored).tolist():
            (place,) = np.flatnonzero(true[query]).tolist()
            for key in range(query):
                if tokens[key] == tokens[query]:
                    assert key == place - 1
                    continue
                flipped = tokens.copy()
                flipped[key] = facts.symbols  # a symbol of its own
                assert (solve(flipped, query) != tokens[query + 1]) == (key == place)
