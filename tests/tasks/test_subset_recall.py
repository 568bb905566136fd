"""k-of-m recall: its data, its truth map for each sequence, its floor by enumeration, and its corners."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks.enumeration import enumerate_floor
from tests.tasks.truth_maps import read_truth

from saltus.errors import SaltusError
from saltus.specs import SubsetRecallSpec
from saltus.tasks.subset_recall import SubsetRecall


def make(seed: int = 0, **values: Any) -> SubsetRecall:
    return SubsetRecall(SubsetRecallSpec(**values), np.random.default_rng(seed))


@st.composite
def specs(draw: st.DrawFn) -> SubsetRecallSpec:
    attributes, symbols = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    relevant = draw(st.integers(1, attributes))
    items = draw(st.integers(1, min(5, symbols**relevant)))
    return SubsetRecallSpec(
        items=items,
        queries=draw(st.integers(1, items)),
        attributes=attributes,
        relevant=relevant,
        symbols=symbols,
        values=draw(st.integers(2, 5)),
    )


def solve(tokens: list[int], query: int, spec: SubsetRecallSpec, relevant: list[int]) -> int | None:
    """The value of the first item that agrees in what is relevant; None where no item does."""
    width = spec.attributes + 1
    asked = tokens[query + 2 - width : query + 1]
    for item in range(spec.items):
        known = tokens[item * width : item * width + spec.attributes]
        if all(known[i] == asked[i] for i in relevant):
            return tokens[item * width + spec.attributes]
    return None


@given(specs(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_tokens_before_it_give_every_answer(spec: SubsetRecallSpec, seed: int) -> None:
    task = SubsetRecall(spec, np.random.default_rng(seed))
    relevant = task.relevant.tolist()
    assert len(set(relevant)) == spec.relevant
    sequences = task.sample(np.random.default_rng(seed), 5)
    assert sequences.shape == (5, spec.tokens) == (5, task.facts.length)
    assert sequences.dtype == np.uint8
    width = spec.attributes + 1
    answers = np.flatnonzero(task.facts.scored).tolist()
    assert answers == list(range((spec.items + 1) * width - 2, spec.tokens, width))
    for tokens in sequences.tolist():
        rows = [tokens[start : start + width] for start in range(0, len(tokens), width)]
        words = [tuple(row[i] for i in relevant) for row in rows]
        assert len(set(words[: spec.items])) == spec.items
        assert len(set(words[spec.items :])) == spec.queries
        assert {token for row in rows for token in row[:-1]} <= set(range(spec.symbols))
        assert {row[-1] for row in rows} <= set(range(spec.symbols, task.facts.symbols))
        assert [solve(tokens, query, spec, relevant) for query in answers] == [tokens[query + 1] for query in answers]


@given(specs(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_truth_map_is_the_true_one(spec: SubsetRecallSpec, seed: int) -> None:
    """Another token at the true key is another answer; another one outside it and what is relevant never is.

    Neither are the attributes that do not matter, of the query and of the item that agrees.
    """
    task = SubsetRecall(spec, np.random.default_rng(seed))
    facts = task.facts
    relevant = task.relevant.tolist()
    width = spec.attributes + 1
    sequences = task.sample(np.random.default_rng(seed), 3)
    for tokens, true in zip(sequences.tolist(), read_truth(task, sequences), strict=True):
        for query in np.flatnonzero(facts.scored).tolist():
            (place,) = np.flatnonzero(true[query]).tolist()
            said = {row + i for row in (query + 2 - width, place - spec.attributes) for i in relevant}
            for key in range(query + 1):
                flipped = tokens.copy()
                flipped[key] = facts.symbols  # a symbol of its own
                changed = solve(flipped, query, spec, relevant) != tokens[query + 1]
                assert changed == (key == place or key in said)


def test_subsets_are_drawn_uniformly() -> None:
    values = {"items": 2, "queries": 1, "attributes": 4, "relevant": 2, "symbols": 3, "values": 3}
    drawn = [tuple(make(seed, **values).relevant.tolist()) for seed in range(1200)]
    counts = np.array([drawn.count(pair) for pair in itertools.combinations(range(4), 2)])
    assert counts.sum() == 1200
    # chi-square with 5 degrees of freedom: 20.5 is the 0.999 quantile
    assert ((counts - 200) ** 2 / 200).sum() < 20.5


def test_items_are_drawn_uniformly_and_so_is_what_is_asked() -> None:
    task = make(items=3, queries=2, attributes=3, relevant=2, symbols=2, values=4)
    tokens = task.sample(np.random.default_rng(0), 9600)
    words = tokens.reshape(9600, 5, 4)[:, :3, task.relevant] @ np.array([1, 2])  # [sequence, item]
    found, counts = np.unique(words @ np.array([16, 4, 1]), return_counts=True)
    assert len(found) == 24  # ordered choices of 3 out of 4 words
    # chi-square with 23 degrees of freedom: 49.7 is the 0.999 quantile
    assert ((counts - 400) ** 2 / 400).sum() < 49.7
    truth = task.truth_of(tokens)[:, task.facts.scored].mean(axis=0)[:, 3:12:4]  # [question, item]
    np.testing.assert_allclose(truth, 1 / 3, atol=0.025)  # five standard errors
    noise = tokens.reshape(9600, 5, 4)[..., np.setdiff1d(range(3), task.relevant)]
    np.testing.assert_allclose(noise.mean(axis=0), 0.5, atol=0.026)


def enumerate_all(spec: SubsetRecallSpec, relevant: list[int]) -> dict[tuple[int, ...], float]:
    """Every sequence; all are equally likely."""
    words = list(itertools.product(range(spec.symbols), repeat=spec.relevant))
    noises = list(itertools.product(range(spec.symbols), repeat=spec.attributes - spec.relevant))
    values = range(spec.symbols, spec.symbols + spec.values)
    sequences: list[tuple[int, ...]] = []
    for shown in itertools.permutations(words, spec.items):
        for asked in itertools.permutations(range(spec.items), spec.queries):
            order = [*range(spec.items), *asked]
            for value in itertools.product(values, repeat=spec.items):
                for noise in itertools.product(noises, repeat=len(order)):
                    sequence: list[int] = []
                    for i, extra in zip(order, noise, strict=True):
                        rest, word = iter(extra), iter(shown[i])
                        sequence += [next(word if a in relevant else rest) for a in range(spec.attributes)]
                        sequence.append(value[i])
                    sequences.append(tuple(sequence))
    assert len(set(sequences)) == len(sequences)
    return dict.fromkeys(sequences, 1 / len(sequences))


@pytest.mark.parametrize(
    "values",
    [
        {"items": 3, "queries": 2, "attributes": 2, "relevant": 2, "symbols": 2, "values": 2},
        {"items": 2, "queries": 2, "attributes": 2, "relevant": 1, "symbols": 3, "values": 2},
        {"items": 2, "queries": 1, "attributes": 3, "relevant": 2, "symbols": 2, "values": 3},
    ],
)
def test_the_floor_is_the_enumerated_one(values: dict[str, Any]) -> None:
    task = make(**values)
    spec = SubsetRecallSpec(**values)
    sequences = enumerate_all(spec, task.relevant.tolist())
    facts = task.facts
    np.testing.assert_allclose(facts.floor_loss, enumerate_floor(sequences), atol=1e-9)
    assert set(facts.floor_loss[facts.scored].tolist()) == {0.0}


def test_the_floor_of_many_items_of_many_words_is_quick_and_finite() -> None:
    floor = make(items=64, queries=8, attributes=8, relevant=6, symbols=32, values=64).facts.floor_loss
    assert (floor >= 0.0).all()
    assert floor[0] == pytest.approx(math.log(32))


def test_chance_is_a_guess_among_symbols_or_among_values() -> None:
    facts = make(items=2, queries=1, attributes=2, relevant=1, symbols=5, values=7).facts
    np.testing.assert_allclose(np.exp(facts.chance_loss), [5, 7, 5, 5, 7, 5, 5, 7])
    assert (facts.symbols, facts.units, facts.unit_of_query.tolist()) == (12, ("recall",), [-1] * 7 + [0])
    assert np.flatnonzero(facts.candidates[7]).tolist() == [2, 5]


def test_sequences_depend_on_the_generators_alone() -> None:
    values = {"items": 4, "queries": 2, "attributes": 4, "relevant": 2, "symbols": 3, "values": 5}
    first = make(**values).sample(np.random.default_rng(3), 20)
    np.testing.assert_array_equal(make(**values).sample(np.random.default_rng(3), 20), first)
    assert (make(**values).sample(np.random.default_rng(4), 20) != first).any()


def test_corners_name_degenerate_settings() -> None:
    plain: dict[str, int] = {"items": 8, "queries": 2, "attributes": 6, "relevant": 3, "symbols": 2, "values": 16}
    assert [corner[:27] for corner in make(**plain).facts.corners] == ["Items stand at fixed places"]
    (every, *_) = make(**(plain | {"relevant": 6})).facts.corners
    assert "k = m = 6" in every
    assert "one value to repeat" in make(**(plain | {"items": 1, "queries": 1})).facts.corners[0]
    (part, *_) = make(**(plain | {"symbols": 40})).facts.corners
    assert "Any 2 of the k = 3 attributes leave 0.0043 other items" in part  # 7 * (40 - 1) / (40**3 - 1)
    _, left = make(**(plain | {"queries": 8, "values": 8})).facts.corners
    assert "without finding the item" in left


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"queries": 5}, "queries is 5 and items is 4; each is asked at most once, so at most that"),
        ({"relevant": 5}, "relevant is 5, but an item has 4 attributes"),
        ({"items": 10}, r"symbols\*\*relevant is 9; allowed are 10, the number of items, .* to 2\*\*31"),
        ({"symbols": 250, "relevant": 4}, r"symbols\*\*relevant is 3906250000; allowed are 4, .* to 2\*\*31"),
        ({"values": 254}, "symbols is 3 and values is 254; together at most 256 are allowed"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(change: dict[str, int], sentence: str) -> None:
    values = {"items": 4, "queries": 2, "attributes": 4, "relevant": 2, "symbols": 3, "values": 5}
    with pytest.raises(SaltusError, match=sentence):
        make(**(values | change))
