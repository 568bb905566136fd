"""Known patterns: what attention with a name does on any text, and how much of a head's attention does it.

A known pattern is a function from the tokens of a sequence, integers [position], to a mask [query, key]: the keys that
each query looks at. Queries without such a key say nothing of the pattern and are left out.

    tokens      7 2 5 7 2         previous    duplicate   induction   first
    query 3 (7)                   . . x . .   x . . . .   . x . . .   x . . . .
    query 4 (2)                   . . . x .   . x . . .   . . x . .   x . . . .
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saltus.errors import SaltusError

Mask = NDArray[np.bool_]
"""[query, key]"""
KnownPattern = Callable[[NDArray[np.int64]], Mask]
"""From the tokens of a sequence, [position], to the mask of the pattern, [query, key]."""


def previous_token(tokens: NDArray[np.int64]) -> Mask:
    """The key just before the query.

    >>> previous_token(np.array([4, 4, 4])).astype(int)
    array([[0, 0, 0],
           [1, 0, 0],
           [0, 1, 0]])
    """
    return np.eye(len(tokens), k=-1, dtype=bool)


def duplicate_token(tokens: NDArray[np.int64]) -> Mask:
    """Earlier keys with the token of the query (arXiv 2211.00593, section 3).

    >>> duplicate_token(np.array([7, 2, 7])).astype(int)
    array([[0, 0, 0],
           [0, 0, 0],
           [1, 0, 0]])
    """
    return np.tril(tokens[:, None] == tokens, k=-1)


def induction(tokens: NDArray[np.int64]) -> Mask:
    """The keys just after earlier copies of the query's token: prefix matching (arXiv 2209.11895).

    >>> induction(np.array([7, 2, 7])).astype(int)
    array([[0, 0, 0],
           [0, 0, 0],
           [0, 1, 0]])
    """
    mask = np.zeros((len(tokens), len(tokens)), dtype=bool)
    mask[:, 1:] = duplicate_token(tokens)[:, :-1]
    return mask


def first_token(tokens: NDArray[np.int64]) -> Mask:
    """The first key, for every query but the first, which can look nowhere else (arXiv 2309.17453).

    >>> first_token(np.array([4, 4, 4])).astype(int)
    array([[0, 0, 0],
           [1, 0, 0],
           [1, 0, 0]])
    """
    mask = np.zeros((len(tokens), len(tokens)), dtype=bool)
    mask[1:, :1] = True
    return mask


KNOWN_PATTERNS: dict[str, KnownPattern] = {
    "previous_token": previous_token,
    "duplicate_token": duplicate_token,
    "induction": induction,
    "first_token": first_token,
}
"""Every known pattern, by its name."""


@dataclass(frozen=True)
class PatternMasks:
    """Known patterns on some sequences of one length."""

    names: tuple[str, ...]
    tokens: NDArray[np.int64]
    """[sequence, position]"""
    masks: NDArray[np.bool_]
    """[pattern, sequence, query, key]"""

    @property
    def weights(self) -> NDArray[np.float64]:
        """[pattern, sequence, query, key] the sum of attention times these is the mass on the pattern.

        The mass is the mean, over the queries that have a key of the pattern, of the attention to these keys.
        """
        queries = self.masks.any(3).sum((1, 2))  # [pattern]
        return self.masks / queries[:, None, None, None]

    @property
    def chance(self) -> NDArray[np.float64]:
        """[pattern] the mass of uniform causal attention, in which a query sees itself and all keys before it."""
        length = self.tokens.shape[1]
        return self.weigh(np.broadcast_to(uniform_attention(length), (len(self.tokens), length, length)))

    def weigh(self, attention: ArrayLike) -> NDArray[np.float64]:
        """[..., pattern] the mass on each pattern of attention [..., sequence, query, key]."""
        return np.einsum("...sqk,nsqk->...n", np.asarray(attention, dtype=np.float64), self.weights)


def uniform_attention(length: int) -> NDArray[np.float64]:
    """[query, key] the causal attention that prefers nothing."""
    return np.tril(np.ones((length, length))) / np.arange(1, length + 1)[:, None]


def find_patterns(wanted: Iterable[str | KnownPattern]) -> dict[str, KnownPattern]:
    """By name: known patterns that are named, and functions of the user's, which are named after themselves.

    Raises:
        SaltusError: if there is no such name, or one comes twice.

    """
    found: dict[str, KnownPattern] = {}
    for each in wanted:
        name = each if isinstance(each, str) else getattr(each, "__name__", type(each).__name__)
        if name in found:
            raise SaltusError(f"patterns: {name!r} was given twice; name each pattern once")
        if isinstance(each, str) and each not in KNOWN_PATTERNS:
            raise SaltusError(
                f"patterns: {each!r} was given; allowed are {', '.join(KNOWN_PATTERNS)}, or a function of the tokens"
            )
        found[name] = KNOWN_PATTERNS[each] if isinstance(each, str) else each
    return found


def mask_sequences(patterns: Mapping[str, KnownPattern], tokens: NDArray[np.int64]) -> PatternMasks:
    """The masks of `patterns` on `tokens` [sequence, position].

    Raises:
        SaltusError: if a function gives no mask of the tokens, looks ahead, or has no key for any query.

    """
    masks = [[_check(name, find(each), len(each)) for each in tokens] for name, find in patterns.items()]
    for name, each in zip(patterns, masks, strict=True):
        if not np.any(each):
            raise SaltusError(
                f"pattern {name}: no query of the probe batch has a key of it; give a batch that has some"
            )
    shape = (len(masks), *tokens.shape, tokens.shape[1])
    return PatternMasks(tuple(patterns), tokens, np.array(masks, dtype=np.bool_).reshape(shape))


def _check(name: str, mask: Any, length: int) -> Mask:
    array = np.asarray(mask)
    if array.shape != (length, length) or array.dtype != np.bool_:
        raise SaltusError(
            f"pattern {name}: an array of shape {array.shape} and type {array.dtype} was given; a mask is booleans "
            f"[query, key], here {(length, length)}"
        )
    if np.triu(array, k=1).any():
        raise SaltusError(f"pattern {name}: a query looks at a later key, which causal attention cannot; leave it out")
    return array
