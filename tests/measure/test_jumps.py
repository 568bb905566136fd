"""The pair of checkpoints to patch across."""

import numpy as np
import pytest

from saltus.curves import Curve, Curves, Key, Rule
from saltus.measure.jumps import Jump, find_jump, find_largest_jump


def draw(**seeds: dict[int, float]) -> Curves:
    """A curve for each seed, from its values by step."""
    curves = tuple(
        Curve(Key("s", seed, "repetition"), np.array(list(values)), np.array(list(values.values())))
        for seed, values in seeds.items()
    )
    return Curves(curves, "probability", Rule(above=0.75))


SLOW = {0: 0.1, 2: 0.2, 4: 0.4, 8: 0.6}  # rises by .1, .2, .2
FALLING = {0: 0.9, 1: 0.6, 2: 0.6}
ABRUPT = {0: 0.05, 64: 0.05, 128: 0.85}


def test_the_first_largest_rise_between_neighbours_is_the_jump() -> None:
    found = find_jump(draw(a=SLOW)[0])
    assert found == Jump(Key("s", "a", "repetition"), 2, 4, pytest.approx(0.2))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("values", [FALLING, {0: 0.5}])
def test_without_a_rise_there_is_no_jump(values: dict[int, float]) -> None:
    assert find_largest_jump(draw(a=values)) is None


def test_without_a_curve_there_is_no_jump() -> None:
    assert find_largest_jump(draw()) is None


def test_the_largest_of_all_curves() -> None:
    found = find_largest_jump(draw(a=SLOW, b=ABRUPT, c=FALLING))
    assert found == Jump(Key("s", "b", "repetition"), 64, 128, pytest.approx(0.8))  # pyright: ignore[reportArgumentType]


def test_an_evaluation_at_which_nothing_was_measured_is_passed_over() -> None:
    """As a step that is missing: the evaluations around it are neighbours."""
    found = find_jump(draw(a={0: 0.1, 1: np.nan, 2: 0.9, 3: 1.0})[0])
    assert found == Jump(Key("s", "a", "repetition"), 0, 2, pytest.approx(0.8))  # pyright: ignore[reportArgumentType]
    assert find_jump(draw(a={0: 0.1, 1: np.nan})[0]) is None
