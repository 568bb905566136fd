"""Exact floors of small tasks, from all of their sequences."""

import math
from collections import defaultdict
from collections.abc import Mapping

Sequences = Mapping[tuple[int, ...], float]
"""The probability of every sequence."""


def enumerate_floor(sequences: Sequences) -> list[float]:
    """[query] the entropy of the next token given all before it."""
    length = len(next(iter(sequences)))
    floor: list[float] = []
    for query in range(length - 1):
        known: defaultdict[tuple[int, ...], float] = defaultdict(float)
        extended: defaultdict[tuple[int, ...], float] = defaultdict(float)
        for sequence, share in sequences.items():
            known[sequence[: query + 1]] += share
            extended[sequence[: query + 2]] += share
        floor.append(sum(-share * math.log(share / known[prefix[:-1]]) for prefix, share in extended.items()))
    return floor
