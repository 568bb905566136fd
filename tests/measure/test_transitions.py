"""Of jumps: how long a fall takes, in which order units pass, and whether attention sharpens as they do."""

from math import log

import numpy as np
import pytest
from numpy.typing import NDArray

from saltus.curves import Emergence
from saltus.measure.transitions import EntropyChange, measure_entropy_change, measure_falls, rank_passings

CHANCE = log(2)
STEPS = np.arange(0, 800, 100)


def test_a_fall_lasts_from_the_last_loss_near_chance_to_the_first_near_nothing() -> None:
    early = [1, 1, 0.5, 0, 0, 0, 0, 0]
    twice = [1, 0.5, 1, 0.8, 0.4, 0.05, 1, 0]  # it falls half, comes back, falls; what happens later is not its fall
    never = [1, 1, 1, 0.8, 0.5, 0.3, 0.2, 0.2]
    losses = CHANCE * np.array([[early, twice, never], [never, never, early]]).transpose(0, 2, 1)
    assert measure_falls(STEPS, losses, CHANCE) == [[200, 300], [200]]


# Two seeds, four units, eight evaluations a hundred steps apart: unit 3 passes at the third, unit 1 at the fifth.
PASSES = {1: 4, 3: 2}


def draw_losses() -> NDArray[np.float64]:
    losses = np.full((2, 8, 4), CHANCE)
    for unit, at in PASSES.items():
        losses[:, at:, unit] = 0.0
    return losses


def list_emergences() -> list[list[Emergence]]:
    seed = [Emergence(700, None, None)] * 4
    for unit, at in PASSES.items():
        seed[unit] = Emergence(100 * (at - 1), 100 * at, None)
    return [seed, seed]


def test_units_are_ranked_by_when_they_pass_and_the_others_are_censored() -> None:
    assert rank_passings(STEPS, draw_losses(), 0.35) == [[200.0, 400.0, None, None]] * 2


@pytest.mark.parametrize(("sharpens", "change"), [(True, -1.0), (False, 0.0)])
def test_entropy_is_read_in_the_head_that_has_the_true_keys(sharpens: bool, change: float) -> None:
    entropy, mass = np.full((2, 8, 3, 4), 2.0), np.zeros((2, 8, 3, 4))  # [seed, evaluation, head, unit]
    mass[:, -1, 1] = 0.9
    entropy[:, :, 0] -= 0.5 * np.arange(8)[:, None]  # another head sharpens all the time
    if sharpens:
        entropy[:, 4:, 1, 1] -= 1.0
        entropy[:, 2:, 1, 3] -= 1.0
    assert measure_entropy_change(STEPS, entropy, mass, list_emergences()).around == change


def test_nothing_that_emerged_is_no_change() -> None:
    entropy = np.random.default_rng(0).normal(size=(2, 8, 3, 4))
    none = [[Emergence(700, None, None)] * 4] * 2
    assert measure_entropy_change(STEPS, entropy, entropy, none) == EntropyChange(0.0, 0.0)


def test_attention_that_sharpens_all_the_time_does_not_sharpen_at_jumps() -> None:
    assert EntropyChange(around=-0.6, elsewhere=-0.01).falls
    assert not EntropyChange(around=-0.6, elsewhere=-0.5).falls
    assert not EntropyChange(around=-0.02, elsewhere=0.0).falls
