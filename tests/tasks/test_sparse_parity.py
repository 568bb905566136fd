"""Sparse parity against counting, and that no smaller set of bits says anything."""

from itertools import combinations

import numpy as np

from saltus.specs import SparseParitySpec
from saltus.tasks.sparse_parity import SparseParity


def test_the_target_is_the_parity_of_the_subset_and_of_no_other() -> None:
    task = SparseParity(SparseParitySpec(bits=6, subset=3), np.random.default_rng(4))
    tokens = task.sample(np.random.default_rng(0), 4000)
    assert set(np.flatnonzero(task.facts.truth[5])) == set(task.subset)
    for size in (1, 2, 3, 4):
        for bits in combinations(range(6), size):
            agree = float(np.mean([sum(int(row[i]) for i in bits) % 2 == row[6] for row in tokens]))
            # five standard errors of a fair coin
            assert agree == 1.0 if set(bits) == set(task.subset) else abs(agree - 0.5) < 5 * 0.5 / 4000**0.5
    np.testing.assert_allclose(task.facts.progress(np.array([[0.0], [np.log(2)]])), [[1.0], [0.0]])
