"""Summaries of a run, and what chance would give its heads."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from saltus.curves import Emergence, Key
from saltus.measure.alignment import chance_overlap
from saltus.report.run.heads import chance_by_unit
from saltus.report.run.summary import describe_reliability, describe_result, summarise
from saltus.tasks.base import WHOLE
from saltus.train.records import RunRecords

Build = Callable[..., RunRecords]


def test_summary_of_seeds(three_seeds: RunRecords) -> None:
    done, losing, failing = summarise(three_seeds).seeds
    first = Emergence(10, 20, None, (), Key("small", "0", "row 0"))
    last = Emergence(30, 40, None, (), Key("small", "0", "row 1"))
    assert (done.first, done.last) == (first, last)
    assert (done.task, done.learned, done.lost) == (replace(last, key=Key("small", "0", WHOLE)), 2, 0)
    lost = Emergence(20, 30, 50, (), Key("small", "1", "row 0"))
    assert (losing.first, losing.last) == (lost, lost)
    assert (losing.task.by, losing.learned, losing.lost) == (None, 1, 1)
    assert (failing.first, failing.last, failing.learned) == (None, None, 0)


def test_summary_of_the_run(three_seeds: RunRecords) -> None:
    summary = summarise(three_seeds)
    assert summary.units == ("row 0", "row 1")
    assert (summary.noun, summary.end, summary.solved, summary.median.value) == ("row", 80, 1, np.inf)
    assert summary.first_steps == [20, 30]


def test_chance_is_the_mean_over_the_queries_of_a_unit(build: Build) -> None:
    records = build(np.zeros((1, 2, 4)), needed=3, states=3, heads=2, layers=2)
    expected = [(chance_overlap(4 + cell, 3, 4) + chance_overlap(8 + cell, 3, 4)) / 2 for cell in range(4)]
    np.testing.assert_allclose(chance_by_unit(records), expected)


def test_chance_is_a_candidate_key_where_the_truth_varies(build: Build) -> None:
    records = build(np.zeros((1, 2, 4)), needed=3, states=3, heads=2, layers=2)
    facts = records.facts
    varying = replace(facts, truth=np.zeros_like(facts.truth), varying=2 * facts.scored.astype(np.int64))
    np.testing.assert_allclose(chance_by_unit(replace(records, facts=varying)), 2 / 4)  # two of the four keys before


def test_headline(three_seeds: RunRecords) -> None:
    assert describe_result(summarise(three_seeds)) == (
        "1 of 3 seeds learned all 2 rows within 80 steps; the first row came by step 20 in the earliest seed and by "
        "step 30 in the latest, depending on the seed alone (1 of 3 seeds learned none); 1 seed lost at least one row "
        "again, if only for a while."
    )


@pytest.mark.parametrize(
    ("shape", "finished", "expected"),
    [
        ((2, 4, 3), True, "None of 2 seeds learned all 3 rows within 30 steps; no row emerged in any seed."),
        ((1, 4, 3), True, "The one seed learned 0 of 3 rows within 30 steps."),
        ((2, 4, 1), False, "None of 2 seeds learned the row in the 30 steps run so far; no row emerged in any seed."),
    ],
)
def test_headline_of_nothing(build: Build, shape: tuple[int, int, int], finished: bool, expected: str) -> None:
    needed = min(2, shape[2])
    assert describe_result(summarise(build(np.zeros(shape), needed=needed, finished=finished))) == expected


def test_reliability_names_n_the_share_the_median_and_what_n_cannot_tell(build: Build) -> None:
    at = np.arange(9)[None, :, None]
    came = np.array([2, 2, 3, 3, 4, 4, 5, 9])[:, None, None]  # the evaluation, every 10 steps; the last seed never
    text = describe_reliability(summarise(build((at >= came).repeat(2, axis=2).astype(float))))
    assert text == (
        "Of seeds like these 8, 88% [47%, 100%] learn everything within 80 steps, and half do by step 30 [10, ∞]; "
        "brackets are 95% limits. What happens in fewer than 31% of seeds may well not show among 8."
    )
    late = describe_reliability(summarise(build((at >= came + 5).repeat(2, axis=2).astype(float))))
    assert (
        "25% [3%, 65%] learn everything within 80 steps, and fewer than half do (the median is after step 60)" in late
    )
    one = summarise(build(np.zeros((1, 4, 2))))
    assert describe_reliability(one) == "One seed cannot tell how much seeds differ."


def test_a_nan_run_has_a_summary(build: Build) -> None:
    summary = summarise(build(np.full((1, 4, 2), np.nan)))
    assert summary.seeds[0].learned == 0


def test_units_without_a_common_word_are_units(build: Build) -> None:
    assert summarise(build(np.zeros((1, 3, 2)), names=["row 0", "cell 1"])).noun == "unit"
