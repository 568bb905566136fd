"""Known patterns against masks written by hand, an independent definition, and attention made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.known_patterns import (
    KNOWN_PATTERNS,
    KnownPattern,
    find_patterns,
    mask_sequences,
    uniform_attention,
)

TOKENS = np.array([7, 2, 5, 7, 2, 2])
BY_HAND: dict[str, set[tuple[int, int]]] = {
    "previous_token": {(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)},
    "duplicate_token": {(3, 0), (4, 1), (5, 1), (5, 4)},
    "induction": {(3, 1), (4, 2), (5, 2), (5, 5)},
    "first_token": {(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)},
}
CHANCE = {
    "previous_token": (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 5,
    "duplicate_token": (1 / 4 + 1 / 5 + 2 / 6) / 3,
    "induction": (1 / 4 + 1 / 5 + 2 / 6) / 3,
    "first_token": (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 5,
}


def test_every_known_pattern_is_the_one_written_by_hand() -> None:
    assert set(BY_HAND) == set(KNOWN_PATTERNS)
    for name, find in KNOWN_PATTERNS.items():
        assert {(int(q), int(k)) for q, k in np.argwhere(find(TOKENS))} == BY_HAND[name], name


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_patterns_follow_their_definition_key_by_key(values: list[int]) -> None:
    tokens = np.array(values)
    cells = [(q, k) for q in range(len(values)) for k in range(q + 1)]
    slow = {
        "previous_token": {(q, k) for q, k in cells if k == q - 1},
        "duplicate_token": {(q, k) for q, k in cells if k < q and values[k] == values[q]},
        "induction": {(q, k) for q, k in cells if k >= 1 and values[k - 1] == values[q] and k - 1 < q},
        "first_token": {(q, k) for q, k in cells if k == 0 < q},
    }
    for name, find in KNOWN_PATTERNS.items():
        assert {(int(q), int(k)) for q, k in np.argwhere(find(tokens))} == slow[name], name


def test_chance_is_worked_out_by_hand() -> None:
    masks = mask_sequences(KNOWN_PATTERNS, TOKENS[None])
    assert dict(zip(masks.names, masks.chance, strict=True)) == pytest.approx(CHANCE)


def test_heads_made_by_hand_have_all_their_mass_on_their_own_pattern() -> None:
    tokens = np.array([[1, 2, 3, 1, 2, 3], [4, 6, 5, 4, 6, 5]])
    masks = mask_sequences(KNOWN_PATTERNS, tokens)
    lonely = np.zeros_like(masks.masks)
    lonely[..., 0] = ~masks.masks.any(3)  # queries without the pattern look at the first key
    mass = masks.weigh(masks.masks | lonely)  # [head, pattern]
    assert np.diag(mass) == pytest.approx(1.0)
    names = list(masks.names)
    prefix, first = names.index("induction"), names.index("first_token")
    # The induction head looks at the first key where it has nothing else to do: at queries 1 and 2, of 5.
    assert mass[prefix, first] == pytest.approx(2 / 5)
    assert mass[first, prefix] == 0.0
    half = 0.5 * masks.masks[prefix] + 0.5 * uniform_attention(6)
    assert masks.weigh(half)[prefix] == pytest.approx(0.5 + 0.5 * masks.chance[prefix])


def test_queries_count_alike_whatever_their_sequence() -> None:
    tokens = np.array([[1, 1, 1, 1], [1, 1, 2, 3]])  # three queries with a duplicate, and one
    masks = mask_sequences(find_patterns(["duplicate_token"]), tokens)
    attention = np.zeros((2, 4, 4))
    attention[0, :, 0] = 1.0
    assert masks.weigh(attention) == pytest.approx([3 / 4])


def look_two_back(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.eye(len(tokens), k=-2, dtype=bool)


def test_a_function_of_the_users_is_a_pattern_like_any_other() -> None:
    masks = mask_sequences(find_patterns(["induction", look_two_back]), TOKENS[None])
    assert masks.names == ("induction", "look_two_back")
    assert masks.weigh(look_two_back(TOKENS)[None]) == pytest.approx([2 / 3, 1.0])  # at queries 3 and 4 of three


def look_ahead(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.eye(len(tokens), k=1, dtype=bool)


def weigh_keys(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.eye(len(tokens))  # type: ignore[return-value]


def find_nothing(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.zeros((len(tokens), len(tokens)), dtype=bool)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (look_ahead, "look_ahead: a query looks at a later key"),
        (weigh_keys, "weigh_keys: an array of shape (6, 6) and type float64"),
        (find_nothing, "find_nothing: no query of the probe batch"),
    ],
)
def test_functions_that_are_no_pattern_are_refused(pattern: KnownPattern, said: str) -> None:
    with pytest.raises(SaltusError) as refused:
        mask_sequences(find_patterns([pattern]), TOKENS[None])
    assert said in str(refused.value)


def test_names_are_checked() -> None:
    with pytest.raises(SaltusError, match="'inducton' was given; allowed are previous_token, duplicate_token"):
        find_patterns(["inducton"])
    with pytest.raises(SaltusError, match="'induction' was given twice"):
        find_patterns(["induction", "induction"])
