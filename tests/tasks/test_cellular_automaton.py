"""Cellular automata: known rows, the true truth map, and floors against exact enumeration."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saltus.specs import CellularAutomatonSpec
from saltus.tasks.cellular_automaton import CellularAutomaton


def make(seed: int = 0, **values: Any) -> CellularAutomaton:
    return CellularAutomaton(CellularAutomatonSpec(**values), np.random.default_rng(seed))


def drawn_pool(task: CellularAutomaton) -> NDArray[np.uint8]:
    assert task.pool is not None
    return task.pool


def elementary(number: int) -> NDArray[np.uint8]:
    """[1, entry] the table of an elementary rule by its published number."""
    return np.array([[number >> entry & 1 for entry in range(8)]], dtype=np.uint8)


def slow_next(state: Sequence[int], table: Sequence[int], symbols: int, window: int, applications: int) -> list[int]:
    """One transition, cell by cell."""
    now = [int(symbol) for symbol in state]
    for _ in range(applications):
        after: list[int] = []
        for cell in range(len(now)):
            entry = 0
            for offset in range(-(window // 2), window // 2 + 1):
                entry = entry * symbols + now[(cell + offset) % len(now)]
            after.append(int(table[entry]))
        now = after
    return now


def slow_floor(spec: CellularAutomatonSpec, tables: Sequence[Sequence[int]]) -> list[float]:
    """[query] the exact floor: all first states, all rules, and how often each prefix goes on in each way."""
    sequences: list[tuple[int, ...]] = []
    for first in itertools.product(range(spec.symbols), repeat=spec.size):
        for table in tables:
            states = [list(first)]
            for _ in range(spec.states - 1):
                states.append(slow_next(states[-1], table, spec.symbols, spec.window, spec.applications))
            sequences.append(tuple(itertools.chain.from_iterable(states)))
    floor: list[float] = []
    for query in range(spec.size * spec.states - 1):
        known = Counter(sequence[: query + 1] for sequence in sequences)
        extended = Counter(sequence[: query + 2] for sequence in sequences)
        total = sum(-count * math.log(count / known[prefix[:-1]]) for prefix, count in extended.items())
        floor.append(total / len(sequences))
    return floor


def rows(number: int, first: str, count: int) -> list[str]:
    task = make(size=len(first), symbols=2, window=3, states=2, rules=1)
    state = np.array([[int(symbol) for symbol in first]], dtype=np.uint8)
    result = [first]
    for _ in range(count - 1):
        state = task.evolve(elementary(number), np.array([0]), state)
        result.append("".join(map(str, state[0])))
    return result


def test_rule_90_draws_pascals_triangle_mod_2() -> None:
    assert rows(90, "000000010000000", 8) == [
        "000000010000000",
        "000000101000000",
        "000001000100000",
        "000010101010000",
        "000100000001000",
        "001010000010100",
        "010001000100010",
        "101010101010101",
    ]


def test_rule_110_grows_to_the_left_as_published() -> None:
    assert rows(110, "0000001", 6) == ["0000001", "0000011", "0000111", "0001101", "0011111", "0110001"]


@pytest.mark.parametrize("number", [30, 90, 110])
def test_elementary_rules_match_the_scalar_reference_across_the_edge(number: int) -> None:
    table = elementary(number)
    first = "1101000100101"
    expected = [int(symbol) for symbol in first]
    for row in rows(number, first, 10):
        assert row == "".join(map(str, expected))
        expected = slow_next(expected, table[0].tolist(), 2, 3, 1)


@pytest.mark.parametrize(("symbols", "window", "applications"), [(4, 3, 1), (3, 1, 2), (2, 5, 3), (3, 5, 1)])
def test_every_sample_follows_one_rule_of_the_pool(symbols: int, window: int, applications: int) -> None:
    task = make(size=7, symbols=symbols, window=window, applications=applications, states=4, rules=3)
    data = task.sample(np.random.default_rng(1), 40)
    assert data.shape == (40, 28)
    assert data.dtype == np.uint8
    used: set[int] = set()
    for sequence in data.reshape(40, 4, 7).tolist():
        explained = [
            i
            for i, table in enumerate(drawn_pool(task).tolist())
            if all(slow_next(a, table, symbols, window, applications) == b for a, b in itertools.pairwise(sequence))
        ]
        assert explained
        used.update(explained)
    assert used == {0, 1, 2}


def test_first_states_are_uniform() -> None:
    first = make(size=5, symbols=3, rules=2).sample(np.random.default_rng(0), 6000)[:, :5]
    share = (first[:, :, None] == np.arange(3)).mean(axis=0)
    np.testing.assert_allclose(share, 1 / 3, atol=0.03)  # five standard errors


def test_k_applications_are_every_kth_state_of_single_ones() -> None:
    common: dict[str, Any] = {"size": 9, "symbols": 3, "window": 3, "rules": 4}
    thrice = make(states=3, applications=3, **common).sample(np.random.default_rng(5), 50)
    once = make(states=7, applications=1, **common).sample(np.random.default_rng(5), 50)
    np.testing.assert_array_equal(thrice.reshape(50, 3, 9), once.reshape(50, 7, 9)[:, ::3])


def distinct_rules(task: CellularAutomaton) -> set[tuple[int, ...]]:
    """The tables that 300 sequences of a two-symbol task reveal; 80 cells show every neighbourhood."""
    found: set[tuple[int, ...]] = set()
    for before, after in task.sample(np.random.default_rng(2), 300).reshape(300, 2, 80):
        entry = 4 * np.roll(before, 1) + 2 * before + np.roll(before, -1)
        table = {int(e): int(symbol) for e, symbol in zip(entry, after, strict=True)}
        if len(table) == 8:
            found.add(tuple(table[e] for e in range(8)))
    return found


def test_a_pool_is_kept_and_fresh_rules_are_not() -> None:
    pooled = make(size=80, symbols=2, window=3, states=2, rules=5)
    assert distinct_rules(pooled) == {tuple(table) for table in drawn_pool(pooled).tolist()}
    fresh = make(size=80, symbols=2, window=3, states=2, rules="fresh")
    assert fresh.pool is None
    assert len(distinct_rules(fresh)) > 100  # 177 of the 256 are expected


def test_sequences_depend_on_the_generator_alone() -> None:
    for rules in (16, "fresh"):
        task = make(size=6, states=4, rules=rules)
        first = task.sample(np.random.default_rng(3), 20)
        floor = task.facts.floor_loss  # draws numbers of its own
        np.testing.assert_array_equal(task.sample(np.random.default_rng(3), 20), first)
        assert (task.sample(np.random.default_rng(4), 20) != first).any()
        twin = make(size=6, states=4, rules=rules)
        np.testing.assert_array_equal(twin.facts.floor_loss, floor)
        np.testing.assert_array_equal(twin.sample(np.random.default_rng(3), 20), first)


@st.composite
def specs(draw: st.DrawFn) -> CellularAutomatonSpec:
    size = draw(st.integers(1, 9))
    window = draw(st.sampled_from([w for w in (1, 3, 5) if w <= size]))
    symbols = draw(st.integers(2, 4 if window < 5 else 2))
    return CellularAutomatonSpec(
        size=size, symbols=symbols, window=window, states=3, applications=draw(st.integers(1, 3)), rules=1
    )


@given(specs())
@settings(max_examples=40, deadline=None)
def test_the_truth_map_is_what_flipping_cells_shows(spec: CellularAutomatonSpec) -> None:
    task = CellularAutomaton(spec, np.random.default_rng(0))
    size, count = spec.size, 4000
    generator = np.random.default_rng(1)
    tables = generator.integers(0, spec.symbols, (count, spec.symbols**spec.window), dtype=np.uint8)
    state = generator.integers(0, spec.symbols, (count, size), dtype=np.uint8)
    target = task.evolve(tables, np.arange(count), state)
    needed = np.zeros((size, size), dtype=np.bool_)  # [cell, key cell]
    for key in range(size):
        flipped = state.copy()
        flipped[:, key] = (flipped[:, key] + 1) % spec.symbols
        needed[:, key] = (task.evolve(tables, np.arange(count), flipped) != target).any(axis=0)
    expected = np.zeros((3 * size, 3 * size), dtype=np.bool_)  # [predicted token, key]
    expected[size : 2 * size, :size] = needed
    expected[2 * size :, size : 2 * size] = needed
    truth = task.facts.truth
    np.testing.assert_array_equal(truth, expected[1:, :-1])
    np.testing.assert_array_equal(truth.sum(axis=1)[size - 1 :], min(size, spec.applications * (spec.window - 1) + 1))


def test_facts_count_predictions_by_query() -> None:
    facts = make(size=3, symbols=4, window=3, states=3, rules=2).facts
    assert (facts.symbols, facts.length, facts.units) == (4, 9, ("cell 0", "cell 1", "cell 2"))
    assert facts.unit_of_query.tolist() == [-1, -1, 0, 1, 2, 0, 1, 2]
    keys = [np.flatnonzero(row).tolist() for row in facts.candidates]
    assert keys == [[], [], *[[0, 1, 2]] * 3, *[[3, 4, 5]] * 3]
    np.testing.assert_allclose(facts.chance_loss, np.full(8, math.log(4)))


@pytest.mark.parametrize(
    "values",
    [
        {"size": 3, "window": 3, "states": 3, "rules": 2},
        {"size": 4, "window": 3, "states": 3, "rules": 12, "applications": 2},
        {"size": 3, "window": 1, "states": 3, "rules": 7},  # 4 tables: most repeat
        {"size": 9, "window": 3, "states": 2, "rules": 6},  # states longer than what is simulated at once
        {"size": 10, "window": 3, "states": 2, "rules": 6, "applications": 2},
    ],
)
def test_floor_of_a_pool_is_the_enumerated_one(values: dict[str, Any]) -> None:
    spec = CellularAutomatonSpec(symbols=2, **values)
    task = CellularAutomaton(spec, np.random.default_rng(0))
    expected = slow_floor(spec, drawn_pool(task).tolist())
    assert max(expected[spec.size - 1 :]) > 0.1  # else nothing is tested
    # Five standard errors of 4096 entropies between 0 and ln 2, whose standard deviation is at most ln 2 / 2.
    np.testing.assert_allclose(task.facts.floor_loss, expected, atol=5 * math.log(2) / 2 / 64)


@pytest.mark.parametrize(("size", "symbols", "window", "states"), [(4, 2, 3, 3), (3, 3, 1, 4)])
def test_floor_of_fresh_rules_is_the_enumerated_one(size: int, symbols: int, window: int, states: int) -> None:
    spec = CellularAutomatonSpec(size=size, symbols=symbols, window=window, states=states, rules="fresh")
    every_rule = list(itertools.product(range(symbols), repeat=symbols**window))
    expected = slow_floor(spec, every_rule)
    floor = CellularAutomaton(spec, np.random.default_rng(0)).facts.floor_loss
    np.testing.assert_allclose(floor, expected, atol=5 * math.log(symbols) / 2 / 64)


def test_floor_weighs_a_rule_by_its_repeats_in_the_pool() -> None:
    task = make(size=3, symbols=2, window=1, states=2, rules=8)
    task.pool = np.array([[0, 1]] * 7 + [[1, 0]], dtype=np.uint8)
    entropy = -(7 / 8 * math.log(7 / 8) + math.log(1 / 8) / 8)
    np.testing.assert_allclose(task.facts.floor_loss[2:], [entropy, 0.0, 0.0], atol=1e-12)


def test_floor_of_a_single_rule_is_zero() -> None:
    floor = make(size=6, states=4, rules=1).facts.floor_loss
    assert floor[:5].tolist() == [math.log(4)] * 5
    assert floor[5:].tolist() == [0.0] * 18


@pytest.mark.parametrize(
    "values",
    [
        {"size": 6, "states": 3, "rules": "fresh", "applications": 2},
        {"size": 40, "states": 2, "rules": 65536, "applications": 16},  # would cost too much
    ],
)
def test_floor_that_is_not_known_is_nan(values: dict[str, Any]) -> None:
    facts = make(**values).facts
    np.testing.assert_array_equal(np.isnan(facts.floor_loss), facts.scored)


def test_corners_name_degenerate_settings() -> None:
    assert make(size=16, rules=256, states=3).facts.corners == ()
    assert make(size=16, rules="fresh", states=3).facts.corners == ()
    single = make(size=16, rules=1, states=2).facts.corners
    assert len(single) == 1
    assert "memorised" in single[0]
    assert any("window = 1" in corner for corner in make(size=16, window=1, states=2).facts.corners)
    dense = make(size=9, states=2, applications=4).facts.corners
    assert any("9 >= S = 9" in corner for corner in dense)
    assert not any(">= S" in corner for corner in make(size=10, states=2, applications=4).facts.corners)


def test_corners_count_constant_and_repeated_rules() -> None:
    task = make(size=8, symbols=2, window=1, states=2, rules=40)
    pool = drawn_pool(task).tolist()
    constant = sum(table in ([0, 0], [1, 1]) for table in pool)
    text = " ".join(task.facts.corners)
    assert 0 < constant < 40
    assert f"{constant} of 40 rules have a constant table" in text
    assert "Only 4 of the 40 rules are distinct" in text


@pytest.mark.parametrize(("number", "ignored"), [(110, ""), (90, "1"), (204, "0, 2"), (170, "0, 1"), (0, "0, 1, 2")])
def test_corners_see_cells_that_the_only_rule_ignores(number: int, ignored: str) -> None:
    task = make(size=8, symbols=2, window=3, states=2, rules=1)
    task.pool = elementary(number)
    text = " ".join(task.facts.corners)
    assert ("ignores" in text) == bool(ignored)
    assert f"(from the left: {ignored})" in text or not ignored
    assert ("constant table" in text) == (number == 0)


def test_one_truth_holds_for_all_sequences() -> None:
    task = make(size=5, states=3, rules=2)
    truth = task.truth_of(task.sample(np.random.default_rng(1), 7))
    np.testing.assert_array_equal(truth, np.stack([task.facts.truth] * 7))
    np.testing.assert_array_equal(task.facts.needed, task.facts.truth.sum(axis=1))
    assert not task.facts.varies
