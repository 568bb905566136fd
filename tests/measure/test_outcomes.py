"""What a cell came to: rows kept, plateaus by interval, exact intervals for shares."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from saltus.errors import SaltusError
from saltus.measure.outcomes import (
    count_learned,
    estimate_share,
    final_loss,
    find_first_batches,
    find_passings,
    task_emergences,
)
from saltus.train.folder import RunFolder
from saltus.train.records import RunRecords


@pytest.mark.parametrize(
    ("count", "of", "lower", "upper"),
    [
        # Clopper and Pearson, Biometrika 26 (1934): 0 and n of n have closed forms, 1 - (a/2)^(1/n).
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (3, 3, 0.025 ** (1 / 3), 1.0),
        # 8 of 20: 0.1912 to 0.6395 in the usual tables.
        (8, 20, 0.1912, 0.6395),
    ],
)
def test_shares_have_exact_intervals(count: int, of: int, lower: float, upper: float) -> None:
    share = estimate_share(count, of)
    assert (share.lower, share.upper) == pytest.approx((lower, upper), abs=1e-4)


def with_losses(records: RunRecords, train_loss: np.ndarray, progress: np.ndarray) -> RunRecords:
    """The records of the finished run with other numbers: [seed, evaluation] and [seed, evaluation, unit]."""
    steps = records.steps.sort_by([("seed", "ascending"), ("step", "ascending")])
    units = records.units.sort_by([("seed", "ascending"), ("step", "ascending"), ("unit", "ascending")])
    losses = {"train_loss": train_loss, "lowest_train_loss": train_loss - 0.15}
    for name, values in losses.items():
        steps = steps.set_column(steps.column_names.index(name), name, [values.ravel()])
    place = units.column_names.index("progress")
    return replace(records, steps=steps, units=units.set_column(place, "progress", [progress.ravel()]))


@pytest.fixture
def records(finished: RunFolder) -> RunRecords:
    """Two seeds: one learns all four rows and loses one again, the other learns two and keeps a plateau."""
    whole = finished.records()
    count = len(whole.evaluated_steps)
    progress = np.zeros((2, count, 4))
    progress[0, 3:] = 1.0
    progress[0, 6:, 2] = 0.0
    progress[1, 4:, :2] = 1.0
    losses = np.full((2, count), 1.5)
    losses[:, 0] = np.inf
    losses[0, 5:] = 1.4
    return with_losses(whole, losses, progress)


def test_units_that_are_lost_again_are_not_learned(records: RunRecords) -> None:
    assert list(count_learned(records)) == [3, 2]
    assert [e.by is None for e in task_emergences(records)] == [False, True]


def test_a_single_batch_passes_a_level_between_two_evaluations_or_it_is_censored(records: RunRecords) -> None:
    steps = records.evaluated_steps
    ended, censored = find_first_batches(records, 1.3)
    assert (ended.after, ended.by) == (steps[4], steps[5])
    assert (censored.after, censored.by) == (steps[-1], None)


def test_the_mean_of_the_batches_passes_a_level_later_than_one_of_them(records: RunRecords) -> None:
    steps = records.evaluated_steps
    assert [(e.after, e.by) for e in find_passings(records, 1.45)] == [(steps[4], steps[5]), (steps[-1], None)]
    assert [e.by for e in find_passings(records, 1.3)] == [None, None]


def test_records_of_an_older_version_say_nothing_of_single_batches(records: RunRecords) -> None:
    place = records.steps.column_names.index("lowest_train_loss")
    nothing = pa.nulls(len(records.steps), pa.float64())
    older = replace(records, steps=records.steps.set_column(place, "lowest_train_loss", nothing))
    with pytest.raises(SaltusError, match="older version"):
        find_first_batches(older, 1.3)


def test_the_final_loss_is_that_of_the_last_steps(records: RunRecords) -> None:
    np.testing.assert_array_equal(final_loss(records), [1.4, 1.5])
