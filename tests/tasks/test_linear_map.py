"""The linear map: its data, its truth map and its corners."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltus.specs import LinearMapSpec
from saltus.tasks.linear_map import LinearMap


@st.composite
def specs(draw: st.DrawFn) -> LinearMapSpec:
    size = draw(st.integers(1, 9))
    sparsity = draw(st.integers(1, size))
    return LinearMapSpec(size=size, sparsity=sparsity, states=draw(st.integers(2, 4)), symbols=draw(st.integers(2, 5)))


@given(specs(), st.integers(0, 2**32))
def test_every_state_follows_from_the_one_before(spec: LinearMapSpec, seed: int) -> None:
    task = LinearMap(spec, np.random.default_rng(seed))
    assert (task.map.sum(1) == spec.sparsity).all()
    tokens = task.sample(np.random.default_rng(seed + 1), 3)
    assert tokens.shape == (3, task.facts.length)
    for sequence in tokens.astype(int).tolist():
        states = [sequence[i : i + spec.size] for i in range(0, len(sequence), spec.size)]
        for before, after in pairwise(states):
            for row, value in enumerate(after):
                assert value == sum(before[k] for k in range(spec.size) if task.map[row, k]) % spec.symbols


@given(specs(), st.integers(0, 2**32))
def test_the_truth_map_is_the_true_one(spec: LinearMapSpec, seed: int) -> None:
    """Flipping a key outside it never changes the target, flipping one inside always does."""
    task = LinearMap(spec, np.random.default_rng(seed))
    facts = task.facts
    state = np.random.default_rng(seed).integers(0, spec.symbols, spec.size)
    target = task.map.astype(int) @ state % spec.symbols
    for key in range(spec.size):
        flipped = state.copy()
        flipped[key] = (flipped[key] + 1) % spec.symbols
        changed = task.map.astype(int) @ flipped % spec.symbols != target
        for row in range(spec.size):
            for transition in range(spec.states - 1):
                query = spec.size * (transition + 1) + row - 1
                assert facts.truth[query, spec.size * transition + key] == changed[row]
    # Nothing beyond the state before is ever needed, and nothing for the first state.
    assert not (facts.truth & ~facts.candidates).any()
    assert facts.truth.sum() == spec.sparsity * spec.size * (spec.states - 1)
    assert not facts.truth[: spec.size - 1].any()


@pytest.mark.parametrize(("size", "floor"), [(8, 0.3235), (16, 0.3354), (32, 0.3411)])
def test_the_floor_over_the_whole_sequence_is_the_published_one(size: int, floor: float) -> None:
    """(S-1)/(2S-1) ln 2, as the published final losses show (arXiv 2606.25010)."""
    facts = LinearMap(LinearMapSpec(size=size, sparsity=3), np.random.default_rng(0)).facts
    assert facts.floor_loss.mean() == pytest.approx(floor, abs=5e-5)
    assert facts.chance_loss.mean() == pytest.approx(math.log(2))
    assert facts.unit_of_query[size - 1] == 0  # output i is predicted at query S + i - 1
    assert facts.unit_of_query[2 * size - 2] == size - 1


def test_rows_are_drawn_uniformly_from_all_subsets() -> None:
    maps = [LinearMap(LinearMapSpec(size=4, sparsity=2), np.random.default_rng(i)).map for i in range(600)]
    counts = np.unique(np.concatenate(maps) @ np.array([1, 2, 4, 8]), return_counts=True)[1]
    assert len(counts) == math.comb(4, 2)
    expected = 2400 / 6
    # chi-square with 5 degrees of freedom: 20.5 is the 0.999 quantile
    assert ((counts - expected) ** 2 / expected).sum() < 20.5


def test_at_full_density_copying_solves_all_rows_but_the_first_and_the_task_says_so() -> None:
    task = LinearMap(LinearMapSpec(size=6, sparsity=6), np.random.default_rng(0))
    tokens = task.sample(np.random.default_rng(1), 50)
    assert (tokens[:, 7:] == tokens[:, 6:-1]).all()
    assert "copying the output before it" in task.facts.corners[0]


def test_other_corners_are_named_and_a_plain_map_has_none() -> None:
    corners = [LinearMap(LinearMapSpec(size=6, sparsity=s), np.random.default_rng(3)).facts.corners for s in (1, 3, 5)]
    assert any("s = 1" in corner for corner in corners[0])
    assert any("s = S - 1" in corner for corner in corners[2])
    twice = LinearMap(LinearMapSpec(size=3, sparsity=2), np.random.default_rng(0))
    repeated = 3 - len({tuple(row) for row in twice.map.tolist()})
    assert repeated
    assert any(corner.startswith(f"{repeated} of 3 rows repeat") for corner in twice.facts.corners)


def test_one_truth_holds_for_all_sequences() -> None:
    task = LinearMap(LinearMapSpec(size=4, sparsity=2, states=3), np.random.default_rng(0))
    truth = task.truth_of(task.sample(np.random.default_rng(1), 7))
    np.testing.assert_array_equal(truth, np.stack([task.facts.truth] * 7))
    np.testing.assert_array_equal(task.facts.needed, task.facts.truth.sum(axis=1))
    assert not task.facts.varies
