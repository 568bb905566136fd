"""Modular addition against the table of its sums, also with symbols that need more than a byte."""

import numpy as np
import pytest

from saltus.specs import ModularAdditionSpec
from saltus.tasks.modular_addition import ModularAddition


@pytest.mark.parametrize("modulus", [2, 7, 255, 256, 1009])
def test_every_sequence_is_a_line_of_the_table(modulus: int) -> None:
    task = ModularAddition(ModularAdditionSpec(modulus=modulus))
    tokens = task.sample(np.random.default_rng(0), 3000)
    assert all(c == (a + b) % modulus and sign == modulus for a, b, sign, c in tokens.tolist())
    assert len(np.unique(tokens[:, :2])) >= min(modulus, 900)
    assert task.facts.symbols == modulus + 1
    assert task.facts.scored.tolist() == [False, False, True]
    np.testing.assert_allclose(task.facts.chance_loss[2], np.log(modulus))
    np.testing.assert_array_equal(task.facts.truth[2], [True, True, False])
