"""Turnbull's estimate against published masses, exact fractions and a second package's convention of closed ends."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tests.known_answers.cosmesis import RAD, RAD_CHEM, parse, pool

from saltus.measure.turnbull import estimate_turnbull


def test_masses_of_the_cosmesis_data() -> None:
    found = estimate_turnbull(*parse(RAD))
    assert_array_equal(found.left, [4, 6, 7, 11, 24, 33, 38, 46])
    assert_array_equal(found.right, [5, 7, 8, 12, 25, 34, 40, 48])
    assert_allclose(found.mass, [0.0463, 0.0334, 0.0887, 0.0708, 0.0926, 0.0818, 0.1209, 0.4656], atol=5e-5)


def test_log_likelihoods_of_the_cosmesis_data() -> None:
    left, right, _ = pool()
    assert estimate_turnbull(*parse(RAD)).log_likelihood == pytest.approx(-58.0600, abs=5e-5)
    assert estimate_turnbull(*parse(RAD_CHEM)).log_likelihood == pytest.approx(-65.6370, abs=5e-5)
    assert estimate_turnbull(left, right).log_likelihood == pytest.approx(-136.9638, abs=5e-5)


def test_exact_fractions() -> None:
    found = estimate_turnbull([2, 5, 1, 1, 9, 8, 10], [3, 6, 7, 7, 12, 10, 13])
    assert_array_equal([found.left, found.right], [[2, 5, 9, 10], [3, 6, 10, 12]])
    assert_allclose(found.mass, [2 / 7, 2 / 7, 3 / 14, 3 / 14], atol=1e-12)


def test_closed_ends_are_another_question() -> None:
    # icenReg with B = c(1, 1) takes [left, right]; on a grid of whole steps that is (left - 1, right] here.
    left, right = np.array([0, 4, 2, 0, 2, 5]), np.array([1, 6, 6, 3, 4, 7])
    closed = estimate_turnbull(left - 1, right)
    assert_allclose(closed.mass, [1 / 4, 1 / 4, 1 / 8, 3 / 8], atol=1e-9)
    assert_array_equal(closed.right, [1, 3, 4, 6])
    # The published .75 and .5 are the values at 1 and until 4, before the mass at exactly 4, where [2, 4] meets [4, 6].
    assert_allclose(closed.survival_at([1, 3])[1], [0.75, 0.5], atol=1e-9)
    half_open = estimate_turnbull(left, right)  # the trap: (2, 4] and (4, 6] do not meet
    assert_allclose(half_open.survival_at([1, 4])[1], [0.765, 0.426], atol=5e-4)
