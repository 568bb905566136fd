"""Noise: nothing in it says what comes next, and nothing counts as learned."""

import numpy as np

from saltus.specs import NoiseSpec
from saltus.tasks.noise import Noise


def test_tokens_are_uniform_and_pairwise_independent() -> None:
    count, symbols = 20_000, 3
    tokens = Noise(NoiseSpec(length=5, symbols=symbols)).sample(np.random.default_rng(0), count)
    onehot = np.eye(symbols)[tokens].reshape(count, -1)  # [sequence, token and symbol]
    together = onehot.T @ onehot / count
    expected = np.full_like(together, 1 / symbols**2)
    for token in range(5):
        own = slice(symbols * token, symbols * (token + 1))
        expected[own, own] = np.eye(symbols) / symbols
    # five standard errors of a share of 1/9 (or 1/3)
    assert np.abs(together - expected).max() < 5 * np.sqrt(2 / 9 / count)


def test_no_key_is_needed_and_no_loss_is_progress() -> None:
    task = Noise(NoiseSpec(length=6, symbols=4))
    facts = task.facts
    assert facts.scored.all()
    assert not facts.needed.any()
    assert not task.truth_of(task.sample(np.random.default_rng(0), 3)).any()
    np.testing.assert_array_equal(facts.chance_loss, np.log(4))
    np.testing.assert_array_equal(facts.floor_loss, facts.chance_loss)
    np.testing.assert_array_equal(facts.progress(np.array([[0.0], [np.log(4)], [5.0]])), 0.0)
    assert "nothing to learn" in facts.corners[0]
