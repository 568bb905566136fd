"""Repetition in context: its data, its truth map for each sequence, its floor by enumeration, and its corners."""

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks.enumeration import enumerate_floor
from tests.tasks.truth_maps import check_truth, solve

from saltus.errors import SaltusError
from saltus.specs import InductionSpec
from saltus.tasks.induction import Induction


def make(**values: Any) -> Induction:
    return Induction(InductionSpec(**values))


@st.composite
def specs(draw: st.DrawFn) -> InductionSpec:
    shortest = draw(st.integers(2, 8))
    longest = draw(st.integers(shortest, 2 * shortest - 2))
    return InductionSpec(
        symbols=draw(st.integers(longest, 20)),
        length=draw(st.integers(longest + 2, 2 * shortest)),
        shortest=shortest,
        longest=longest,
    )


@given(specs(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_tokens_before_it_give_every_answer(spec: InductionSpec, seed: int) -> None:
    task = Induction(spec)
    sequences = task.sample(np.random.default_rng(seed), 5)
    assert sequences.shape == (5, spec.length) == (5, task.facts.length)
    assert sequences.dtype == np.uint8
    answers = np.flatnonzero(task.facts.scored).tolist()
    assert answers == list(range(spec.longest, spec.length - 1))
    for tokens in sequences.tolist():
        period = tokens.index(tokens[0], 1)  # the first symbol comes again
        assert spec.shortest <= period <= spec.longest
        assert len(set(tokens)) == period
        assert all(tokens[i] == tokens[i - period] for i in range(period, spec.length))
        assert max(map(tokens.count, tokens)) == 2
        assert [solve(tokens, query) for query in answers] == [tokens[query + 1] for query in answers]


@given(specs(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_truth_map_is_the_true_one(spec: InductionSpec, seed: int) -> None:
    task = Induction(spec)
    check_truth(task, task.sample(np.random.default_rng(seed), 3))


def test_every_candidate_is_true_alike() -> None:
    task = make(symbols=9, length=10, shortest=5, longest=8)
    truth = task.truth_of(task.sample(np.random.default_rng(0), 6000))
    (query,) = np.flatnonzero(task.facts.scored)
    assert np.flatnonzero(task.facts.candidates[query]).tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(truth[:, query, 1:5].mean(axis=0), 0.25, atol=0.028)  # five standard errors


@pytest.mark.parametrize(
    ("symbols", "length", "shortest", "longest"), [(5, 8, 4, 5), (4, 6, 3, 4), (6, 8, 4, 4), (6, 8, 4, 6)]
)
def test_the_floor_is_the_enumerated_one(symbols: int, length: int, shortest: int, longest: int) -> None:
    probability: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for period in range(shortest, longest + 1):
        strings = list(itertools.permutations(range(symbols), period))
        for string in strings:
            probability[(string * 2)[:length]] += 1 / len(strings) / (longest - shortest + 1)
    facts = make(symbols=symbols, length=length, shortest=shortest, longest=longest).facts
    np.testing.assert_allclose(facts.floor_loss, enumerate_floor(probability), atol=1e-9)
    assert set(facts.floor_loss[facts.scored].tolist()) == {0.0}
    assert facts.floor_loss[0] == pytest.approx(math.log(symbols - 1))


def test_facts_count_predictions_by_query() -> None:
    facts = make(symbols=9, length=10, shortest=5, longest=7).facts
    np.testing.assert_allclose(facts.chance_loss, math.log(9))
    assert (facts.symbols, facts.units, facts.unit_of_query.tolist()) == (9, ("repetition",), [-1] * 7 + [0, 0])


def test_strings_are_uniform() -> None:
    tokens = make(symbols=6, length=8, shortest=4, longest=5).sample(np.random.default_rng(0), 6000)
    share = (tokens[:, :4, None] == np.arange(6)).mean(axis=0)
    np.testing.assert_allclose(share, 1 / 6, atol=0.025)  # five standard errors


def test_sequences_depend_on_the_generator_alone() -> None:
    values = {"symbols": 9, "length": 10, "shortest": 5, "longest": 7}
    first = make(**values).sample(np.random.default_rng(3), 20)
    np.testing.assert_array_equal(make(**values).sample(np.random.default_rng(3), 20), first)
    assert (make(**values).sample(np.random.default_rng(4), 20) != first).any()


def test_corners_name_degenerate_settings() -> None:
    assert make(symbols=32, length=32, shortest=16, longest=24).facts.corners == ()
    (place,) = make(symbols=32, length=24, shortest=20, longest=20).facts.corners
    assert "always stands 19 keys back" in place
    (left,) = make(symbols=200, length=16, shortest=8, longest=10).facts.corners
    assert "have come once" in left


def test_a_string_of_one_length_has_its_truth_at_one_place() -> None:
    task = make(symbols=32, length=24, shortest=20, longest=20)
    truth = task.truth_of(task.sample(np.random.default_rng(0), 50))
    np.testing.assert_array_equal(truth, np.broadcast_to(task.facts.candidates, truth.shape))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"longest": 4}, "shortest is 5 and longest is 4; allowed are 2 <= shortest <= longest <= 9, the number of"),
        ({"symbols": 6}, "shortest is 5 and longest is 7; allowed are 2 <= shortest <= longest <= 6, the number of"),
        ({"length": 8}, r"length is 8; allowed are longest \+ 2 = 9, .*, to 2 \* shortest = 10"),
        ({"length": 11}, r"length is 11; allowed are longest \+ 2 = 9, .*, to 2 \* shortest = 10"),
        ({"symbols": 257}, "257 was given; input should be less than or equal to 256"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(change: dict[str, int], sentence: str) -> None:
    with pytest.raises(SaltusError, match=sentence):
        make(**({"symbols": 9, "length": 10, "shortest": 5, "longest": 7} | change))
