"""The best head of each unit, and the overlap that chance gives it."""

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from saltus.measure.alignment import best_head, chance_overlap


@given(st.integers(1, 200), st.data())
def test_one_head_has_the_share_of_the_keys_it_picks(visible: int, data: st.DataObject) -> None:
    sparsity = data.draw(st.integers(1, visible))
    assert chance_overlap(visible, sparsity, heads=1) == pytest.approx(sparsity / visible, rel=1e-12)


@pytest.mark.parametrize(("visible", "sparsity", "heads"), [(4, 2, 2), (4, 2, 3), (5, 3, 2), (5, 1, 3), (3, 3, 4)])
def test_agrees_with_counting_every_choice(visible: int, sparsity: int, heads: int) -> None:
    truth = set(range(sparsity))
    overlaps = [len(truth.intersection(choice)) for choice in combinations(range(visible), sparsity)]
    best = [max(chosen) for chosen in product(overlaps, repeat=heads)]
    assert chance_overlap(visible, sparsity, heads) == pytest.approx(float(Fraction(sum(best), len(best) * sparsity)))


@pytest.mark.parametrize(("visible", "sparsity", "heads"), [(16, 3, 8), (16, 7, 8), (31, 5, 64)])
def test_agrees_with_simulation(visible: int, sparsity: int, heads: int) -> None:
    generator = np.random.default_rng(0)
    trials = 4000
    ranks = generator.random((trials, heads, visible)).argsort(axis=-1)[..., :sparsity]  # [trial, head, pick]
    overlap = (ranks < sparsity).sum(axis=-1).max(axis=-1) / sparsity  # [trial]; the truth is keys 0 to s - 1
    error = overlap.std() / np.sqrt(trials)
    assert chance_overlap(visible, sparsity, heads) == pytest.approx(overlap.mean(), abs=4 * error)


@given(st.integers(1, 40), st.integers(1, 30), st.data())
def test_more_heads_are_luckier_but_never_beyond_one(visible: int, heads: int, data: st.DataObject) -> None:
    sparsity = data.draw(st.integers(1, visible))
    few, many = chance_overlap(visible, sparsity, heads), chance_overlap(visible, sparsity, heads + 1)
    assert sparsity / visible - 1e-12 <= few <= many + 1e-12 <= 1.0 + 2e-12


def test_truth_that_is_all_keys_is_always_found() -> None:
    assert chance_overlap(visible=16, sparsity=16, heads=8) == 1.0


@pytest.mark.parametrize(
    ("visible", "sparsity", "heads", "message"),
    [(4, 5, 1, "sparsity is 5"), (4, 0, 1, "sparsity is 0"), (4, 2, 0, "heads is 0")],
)
def test_bad_numbers_are_named(visible: int, sparsity: int, heads: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chance_overlap(visible, sparsity, heads)


def test_best_head_is_chosen_for_each_unit() -> None:
    values = np.array([[[0.1, 0.9, 0.3], [0.8, 0.2, 0.3]], [[0.0, 0.0, 1.0], [-1.0, 0.5, 0.0]]])  # [seed, head, unit]
    index, value = best_head(values)
    assert_array_equal(index, [[1, 0, 0], [0, 1, 0]])  # of equal heads, the first
    assert_array_equal(value, [[0.8, 0.9, 0.3], [0.0, 0.5, 1.0]])


def test_best_head_is_never_nan_where_another_is_not() -> None:
    index, value = best_head(np.array([[np.nan, np.nan, np.nan], [0.2, -np.inf, np.nan]]))
    assert_array_equal(index, [1, 1, -1])
    assert_array_equal(value, [0.2, -np.inf, np.nan])


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10_000))
def test_best_head_agrees_with_a_loop(heads: int, units: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 4, size=(2, heads, units)).astype(float)
    index, value = best_head(values)
    for layer in range(2):
        for unit in range(units):
            column = [float(values[layer, head, unit]) for head in range(heads)]
            assert index[layer, unit] == column.index(max(column))
            assert value[layer, unit] == max(column)


@pytest.mark.parametrize("shape", [(3,), (0, 3)])
def test_bad_values_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="values has shape"):
        best_head(np.zeros(shape))
