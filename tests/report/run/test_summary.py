"""Summaries of a run, and the table for the terminal."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from saltus.curves import Emergence
from saltus.measure.alignment import chance_overlap
from saltus.report.run.summary import (
    chance_by_unit,
    describe_result,
    emergence_table,
    format_interval,
    list_numbers,
    summarise,
)
from saltus.train.records import RunRecords

Build = Callable[..., RunRecords]


def print_table(records: RunRecords) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(emergence_table(records))
    return capture.get().splitlines()


def test_summary_of_seeds(three_seeds: RunRecords) -> None:
    done, losing, failing = summarise(three_seeds).seeds
    assert (done.first, done.last) == (Emergence(10, 20, None), Emergence(30, 40, None))
    assert (done.task, done.learned, done.lost) == (Emergence(30, 40, None), 2, 0)
    assert (losing.first, losing.last) == (Emergence(20, 30, 50), Emergence(20, 30, 50))
    assert (losing.task.by, losing.learned, losing.lost) == (None, 1, 1)
    assert (failing.first, failing.last, failing.learned) == (None, None, 0)
    assert done.loss == pytest.approx(np.log(2) / 3)  # one of three predictions is of the random state
    assert (done.scored_loss, done.accuracy) == (0.0, 1.0)
    assert failing.scored_loss == pytest.approx(np.log(2))


def test_summary_of_units(three_seeds: RunRecords) -> None:
    summary = summarise(three_seeds)
    assert [(unit.name, unit.emerged, unit.median) for unit in summary.units] == [
        ("row 0", 2, 30.0),
        ("row 1", 1, None),
    ]
    assert (summary.noun, summary.end, summary.solved, summary.median) == ("row", 80, 1, None)


def test_numbers_name_the_head_that_holds_the_truth(build: Build) -> None:
    progress = np.zeros((1, 3, 2))
    progress[0, -1] = [0.25, 0.75]
    records = build(progress, layers=2, heads=2)
    numbers = list_numbers(records, summarise(records))
    assert [(row.seed, row.unit, row.head, row.mass) for row in numbers] == [
        (0, "row 0", "1.1", 0.25),
        (0, "row 1", "1.1", 0.75),
    ]


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
        "1 of 3 seeds learned all 2 rows within 80 steps; the first row came between step 20 and 30, depending on the "
        "seed alone (1 of 3 seeds learned none); 1 seed lost at least one row again, if only for a while."
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


def test_a_nan_run_has_a_summary(build: Build) -> None:
    summary = summarise(build(np.full((1, 4, 2), np.nan)))
    assert summary.seeds[0].learned == 0
    assert np.isnan(summary.seeds[0].loss)


def test_units_without_a_common_word_are_units(build: Build) -> None:
    assert summarise(build(np.zeros((1, 3, 2)), names=["row 0", "cell 1"])).noun == "unit"


def test_terminal_table_has_a_line_for_each_seed(three_seeds: RunRecords) -> None:
    lines = print_table(three_seeds)
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if re.match(r" +\d +(\(|-)", line)]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[0][1:7] == ["(10,", "20]", "(30,", "40]", "(30,", "40]"]
    assert " ".join(rows[1]).startswith("1 (20, 30] (20, 30] > 80 (1 of 2 rows)")
    assert " ".join(rows[2]) == "2 - - > 80 (0 of 2 rows)"


def test_the_bar_is_full_when_and_only_when_all_units_are_there(three_seeds: RunRecords) -> None:
    bars = [line.rstrip() for line in print_table(three_seeds)]
    done = next(line for line in bars if line.lstrip().startswith("0 ") and "(10, 20]" in line)
    losing = next(line for line in bars if line.lstrip().startswith("1 ") and "(20, 30]" in line)
    assert done.endswith(" ▄▄▄████████")
    assert "█" not in losing


def test_names_are_never_read_as_markup(build: Build) -> None:
    lines = print_table(build(np.zeros((1, 3, 2)), names=["[bold]a[/bold] 0", "[/] 1"]))
    assert any("all 2 units" in line for line in lines)


def test_interval_of_a_unit_that_was_there_from_the_start() -> None:
    assert format_interval(Emergence(-1, 0, None)) == "at 0"
    assert format_interval(Emergence(-1, None, None)) == "> 0"
