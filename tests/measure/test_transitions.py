"""Of jumps: how long a fall takes, in which order units pass, and whether attention sharpens as they do."""

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from saltus.measure.transitions import EntropyChange, find_ranked_steps, measure_entropy_change, measure_falls
from saltus.train.folder import RunFolder
from saltus.train.records import RunRecords

CHANCE = log(2)


def test_a_fall_lasts_from_the_last_loss_near_chance_to_the_first_near_nothing() -> None:
    steps = np.arange(0, 800, 100)
    early = [1, 1, 0.5, 0, 0, 0, 0, 0]
    twice = [1, 0.5, 1, 0.8, 0.4, 0.05, 1, 0]  # it falls half, comes back, falls; what happens later is not its fall
    never = [1, 1, 1, 0.8, 0.5, 0.3, 0.2, 0.2]
    losses = CHANCE * np.array([[early, twice, never], [never, never, early]]).transpose(0, 2, 1)
    assert measure_falls(steps, losses, CHANCE) == [[200, 300], [200]]


def with_cube(records: RunRecords, table: str, column: str, values: NDArray[Any]) -> RunRecords:
    """The records with a column of a table as `RunRecords.cube` gives it."""
    data = getattr(records, table)
    keys = [name for name in data.schema.names if name in ("seed", "step", "unit", "query", "layer", "head")]
    data = data.sort_by([(key, "ascending") for key in keys])
    place = data.column_names.index(column)
    return replace(records, **{table: data.set_column(place, column, [values.ravel()])})


@pytest.fixture
def records(finished: RunFolder) -> RunRecords:
    """Two seeds, evaluated a hundred steps apart: a unit passes at the third evaluation, another at the fifth."""
    whole = finished.records()
    count = len(whole.evaluated_steps)
    for table in ("steps", "units", "heads"):
        steps = np.broadcast_to(100 * np.arange(count)[:, None], (2, count, len(getattr(whole, table)) // (2 * count)))
        whole = with_cube(whole, table, "step", steps.astype(np.int64))
    losses, progress = np.full((2, count, 4), CHANCE), np.zeros((2, count, 4))
    for unit, at in ((1, 4), (3, 2)):
        losses[:, at:, unit], progress[:, at:, unit] = 0.0, 1.0
    return with_cube(with_cube(whole, "units", "loss", losses), "units", "progress", progress)


def test_units_are_ranked_by_when_they_pass_and_the_others_are_censored(records: RunRecords) -> None:
    assert find_ranked_steps(records, 0.35) == [[200.0, 400.0, None, None]] * 2


@pytest.mark.parametrize(("sharpens", "change"), [(True, -1.0), (False, 0.0)])
def test_entropy_is_read_in_the_head_that_has_the_true_keys(records: RunRecords, sharpens: bool, change: float) -> None:
    shape = records.cube("heads", "entropy").shape  # [seed, evaluation, layer, head, unit]
    entropy, mass = np.full(shape, 2.0), np.zeros(shape)
    mass[:, -1, 0, 1] = 0.9
    entropy[:, :, 0, 0] -= 0.5 * np.arange(shape[1])[:, None]  # another head sharpens all the time
    if sharpens:
        entropy[:, 4:, 0, 1, 1] -= 1.0
        entropy[:, 2:, 0, 1, 3] -= 1.0
    records = with_cube(with_cube(records, "heads", "entropy", entropy), "heads", "truth_mass", mass)
    assert measure_entropy_change(records).around == change


def test_attention_that_sharpens_all_the_time_does_not_sharpen_at_jumps() -> None:
    assert EntropyChange(around=-0.6, elsewhere=-0.01).falls
    assert not EntropyChange(around=-0.6, elsewhere=-0.5).falls
    assert not EntropyChange(around=-0.02, elsewhere=0.0).falls
