"""Associative recall: its data, its truth map for each sequence, its floor by enumeration, and its corners."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks.enumeration import enumerate_floor
from tests.tasks.truth_maps import check_truth, solve

from saltus.errors import SaltusError
from saltus.specs import AssociativeRecallSpec
from saltus.tasks.associative_recall import AssociativeRecall


def make(**values: Any) -> AssociativeRecall:
    return AssociativeRecall(AssociativeRecallSpec(**values))


@st.composite
def specs(draw: st.DrawFn) -> AssociativeRecallSpec:
    pairs = draw(st.integers(1, 6))
    return AssociativeRecallSpec(
        pairs=pairs,
        queries=draw(st.integers(1, pairs)),
        keys=draw(st.integers(pairs, 9)),
        values=draw(st.integers(2, 6)),
    )


@given(specs(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_tokens_before_it_give_every_answer(spec: AssociativeRecallSpec, seed: int) -> None:
    task = AssociativeRecall(spec)
    facts = task.facts
    sequences = task.sample(np.random.default_rng(seed), 5)
    assert sequences.shape == (5, spec.tokens) == (5, facts.length)
    assert sequences.dtype == np.uint8
    answers = np.flatnonzero(facts.scored).tolist()
    assert answers == list(range(2 * spec.pairs, spec.tokens, 2))
    for tokens in sequences.tolist():
        shown, asked = tokens[: 2 * spec.pairs : 2], tokens[2 * spec.pairs :: 2]
        assert len(set(shown)) == spec.pairs
        assert len(set(asked)) == spec.queries
        assert set(asked) <= set(shown) <= set(range(spec.keys))
        assert set(tokens[1::2]) <= set(range(spec.keys, facts.symbols))
        assert [solve(tokens, query) for query in answers] == [tokens[query + 1] for query in answers]


@given(specs(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_truth_map_is_the_true_one(spec: AssociativeRecallSpec, seed: int) -> None:
    task = AssociativeRecall(spec)
    check_truth(task, task.sample(np.random.default_rng(seed), 3))


def test_every_pair_and_every_place_is_asked_alike() -> None:
    task = make(pairs=4, queries=2, keys=6, values=8)
    truth = task.truth_of(task.sample(np.random.default_rng(0), 6000))
    share = truth[:, task.facts.scored].mean(axis=0)[:, 1:8:2]  # [question, pair]
    np.testing.assert_allclose(share, 0.25, atol=0.028)  # five standard errors
    assert share.sum() == pytest.approx(2.0)  # and nowhere else


def test_the_mapping_is_fresh_in_every_sequence() -> None:
    tokens = make(pairs=4, queries=1, keys=4, values=5).sample(np.random.default_rng(0), 6000)
    counts = np.zeros((4, 5))
    np.add.at(counts, (tokens[:, 0:8:2], tokens[:, 1:8:2] - 4), 1)
    np.testing.assert_allclose(counts / 6000, 0.2, atol=0.026)  # five standard errors


def test_the_floor_is_the_enumerated_one() -> None:
    spec = AssociativeRecallSpec(pairs=3, queries=2, keys=4, values=2)
    sequences: set[tuple[int, ...]] = set()
    for keys in itertools.permutations(range(4), 3):
        for values in itertools.product((4, 5), repeat=3):
            for asked in itertools.permutations(range(3), 2):
                order = [0, 1, 2, *asked]
                sequences.add(tuple(token for i in order for token in (keys[i], values[i])))
    assert len(sequences) == 24 * 8 * 6
    task = AssociativeRecall(spec)
    floor = enumerate_floor(dict.fromkeys(sequences, 1 / len(sequences)))
    np.testing.assert_allclose(task.facts.floor_loss, floor, atol=1e-9)
    assert set(task.facts.floor_loss[task.facts.scored].tolist()) == {0.0}
    assert {tuple(tokens) for tokens in task.sample(np.random.default_rng(0), 20000).tolist()} == sequences


def test_chance_is_a_guess_among_keys_or_among_values() -> None:
    facts = make(pairs=2, queries=1, keys=5, values=7).facts
    np.testing.assert_allclose(np.exp(facts.chance_loss), [7, 5, 7, 5, 7])
    assert (facts.symbols, facts.units, facts.unit_of_query.tolist()) == (12, ("recall",), [-1, -1, -1, -1, 0])
    assert [np.flatnonzero(row).tolist() for row in facts.candidates] == [[], [], [], [], [1, 3]]


def test_sequences_depend_on_the_generator_alone() -> None:
    values = {"pairs": 4, "queries": 3, "keys": 6, "values": 5}
    first = make(**values).sample(np.random.default_rng(3), 20)
    np.testing.assert_array_equal(make(**values).sample(np.random.default_rng(3), 20), first)
    assert (make(**values).sample(np.random.default_rng(4), 20) != first).any()


def test_corners_name_degenerate_settings() -> None:
    (fixed,) = make(pairs=16, queries=8, keys=32, values=32).facts.corners
    assert fixed.startswith("Pairs stand at fixed places: a mixer whose weights depend on the position alone")
    assert "one value to repeat" in make(pairs=1, queries=1, keys=4, values=4).facts.corners[0]
    _, few = make(pairs=8, queries=1, keys=32, values=64).facts.corners
    assert "at least 50% of the way" in few
    _, all_ = make(pairs=16, queries=16, keys=32, values=16).facts.corners
    assert "left over" in all_
    _, two = make(pairs=8, queries=1, keys=32, values=2).facts.corners
    assert "half of the time" in two


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"queries": 5}, "queries is 5 and pairs is 4; each is asked at most once, so at most that"),
        ({"keys": 3}, "pairs is 4 and keys is 3; pairs have different keys, so at most that"),
        ({"values": 251}, "keys is 6 and values is 251; together at most 256 are allowed"),
        ({"values": 1}, "1 was given; input should be greater than or equal to 2"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(change: dict[str, int], sentence: str) -> None:
    with pytest.raises(SaltusError, match=sentence):
        make(**({"pairs": 4, "queries": 2, "keys": 6, "values": 5} | change))
