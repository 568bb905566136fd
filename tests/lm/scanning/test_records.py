"""Curves and emergence in a scan, against answers worked out by hand."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from saltus.curves import Emergence, Key, Rule
from saltus.lm.scanning.records import SCAN_TABLES, Question, ScanRecords
from saltus.measure.groups import GroupSummary, find_paper_step, summarise_groups
from saltus.measure.intervals import Estimate
from saltus.specs.capabilities import CopyingSpec
from saltus.specs.checkpoints import ScanSpec

STEPS = [0, 512, 1000, 2000, 3000, 143_000]

Answers = Mapping[tuple[str, str], Mapping[int, str]]
"""By size and seed, then by measured step: a digit for each prompt, 1 where it is right."""


def make_records(
    answers: Answers,
    missing: Sequence[tuple[str, str, int]] = (),
    runs: Sequence[tuple[str, str]] = (),
    threshold: float = 0.75,
    names: Sequence[str] = ("copying",) * 4,
) -> ScanRecords:
    numbers = [names[:place].count(name) for place, name in enumerate(names)]
    probes = [
        {
            **{"size": size, "seed": seed, "step": step, "capability": name, "prompt": number},
            **{"probability": 0.5, "logit": 0.0, "rank": 0 if right == "1" else 3, "correct": right == "1"},
            "margin": math.nan,
        }
        for (size, seed), measured in answers.items()
        for step, flags in measured.items()
        for name, number, right in zip(names, numbers, flags, strict=True)
    ]
    tables = {
        "probes": probes,
        "missing": [{"size": a, "seed": b, "step": c, "reason": "not there"} for a, b, c in missing],
        "prompts": [
            {"capability": name, "prompt": number, "text": "1 2 1", "target": " 2"}
            for name, number in zip(names, numbers, strict=True)
        ],
        "runs": [{"size": size, "seed": seed, "steps": STEPS} for size, seed in (runs or answers)],
    }
    return ScanRecords(
        path=Path("scan"),
        spec=ScanSpec(suite="folder:x", capabilities=(CopyingSpec(),), threshold=threshold),
        summary={},
        rule=Rule(above=threshold),
        **{name: pa.Table.from_pylist(rows, schema=SCAN_TABLES[name]) for name, rows in tables.items()},
    )


def summarise(records: ScanRecords, unit: str, level: float = 0.95) -> list[GroupSummary]:
    found = [emergence for emergence in records.curves.emergences() if emergence.key.unit == unit]
    return summarise_groups(found, records.seeds, records.end, np.random.default_rng(0), level)


COPYING = [*(f"copying, prompt {number}" for number in range(4)), "copying"]


def test_intervals_of_prompts_and_of_the_set() -> None:
    """Measured out of order; 3 of 4 are there from 2000 on."""
    records = make_records(
        {("14m", "0"): {143_000: "1101", 0: "0001", 1000: "1001", 2000: "1101", 3000: "1001"}},
        missing=[("14m", "0", 512), ("14m", "1", 2000)],
    )
    keys = [Key("14m", "0", unit) for unit in COPYING]
    assert list(records.curves.emergences()) == [
        Emergence(after=0, by=1000, missing=(512,), key=keys[0]),
        Emergence(after=1000, by=2000, lost=3000, key=keys[1]),
        Emergence(after=143_000, by=None, key=keys[2]),
        Emergence(after=-1, by=0, key=keys[3]),
        Emergence(after=1000, by=2000, lost=3000, key=keys[4]),
    ]


def test_the_curve_of_a_set_is_the_share_of_right_prompts() -> None:
    records = make_records({("14m", "0"): {2000: "1101", 0: "0001", 1000: "1001"}}, missing=[("14m", "0", 512)])
    curve = records.curves[-1]
    assert curve.key == Key("14m", "0", "copying")
    assert (curve.steps.tolist(), curve.values.tolist(), curve.missing) == ([0, 1000, 2000], [0.25, 0.5, 0.75], (512,))


@pytest.mark.parametrize(("threshold", "by"), [(0.25, 0), (0.26, 1000), (0.5, 1000), (0.75, 2000), (0.76, None)])
def test_a_set_is_there_from_the_threshold_on(threshold: float, by: int | None) -> None:
    answers = {("14m", "0"): {0: "0001", 1000: "1001", 2000: "1101"}}
    assert make_records(answers, threshold=threshold).curves.emergences()[-1].by == by
    reread = make_records(answers).reread(Rule(above=threshold))
    assert reread.curves.emergences()[-1].by == by


def test_a_hold_of_two_passes_over_one_lucky_hit() -> None:
    records = make_records({("14m", "0"): {0: "1100", 512: "0001", 1000: "0101", 2000: "1101", 143_000: "1101"}})
    held = records.reread(Rule(above=0.75, hold=2)).curves.emergences()
    assert [(found.after, found.by) for found in held] == [
        (1000, 2000),
        (512, 1000),
        (2000, None),  # the last evaluation could not be confirmed
        (0, 512),
        (1000, 2000),
    ]


def test_sets_are_of_their_own_capability() -> None:
    records = make_records(
        {("14m", "0"): {0: "0010", 1000: "1011", 2000: "1111"}},
        names=("copying", "repetition", "copying", "repetition"),
    )
    assert records.questions == [
        *[Question("copying", 0), Question("copying", 1), Question("copying")],
        *[Question("repetition", 0), Question("repetition", 1), Question("repetition")],
    ]
    found = {emergence.key.unit: emergence.by for emergence in records.curves.emergences()}
    assert list(found) == [question.unit for question in records.questions]
    assert list(found.values()) == [1000, 0, 1000, 2000, 1000, 2000]


def test_missing_steps_that_widen_an_interval() -> None:
    """Only those strictly inside; after a censored unit all that come later."""
    records = make_records(
        {("14m", "0"): {512: "0000", 2000: "1000"}},
        missing=[("14m", "0", step) for step in (143_000, 1000, 0, 3000)],
    )
    found = records.curves.emergences()
    assert found[0].missing == (1000,)
    assert found[1].missing == (3000, 143_000)


def test_a_run_without_a_measured_checkpoint_has_no_curve() -> None:
    records = make_records({("14m", "1"): {0: "0000"}}, runs=[("14m", "0"), ("14m", "1"), ("70m", "0")])
    assert {curve.key[:2] for curve in records.curves} == {("14m", "1")}
    assert (records.seeds, records.end) == ({"14m": 2, "70m": 1}, 143_000)


def test_another_column_is_averaged_over_the_prompts_that_have_it() -> None:
    records = make_records({("14m", "0"): {0: "01", 1000: "11"}}, names=("copying",) * 2)
    [ranks] = records.curves_of("rank", "copying")
    assert (ranks.key, ranks.values.tolist()) == (Key("14m", "0", "copying"), [1.5, 0.0])
    [margins] = records.curves_of("margin", "copying")
    assert all(map(math.isnan, margins.values))


@pytest.mark.parametrize(
    ("emergence", "step"),
    [
        (Emergence(after=512, by=1000, lost=None), 756.0),  # stands in the paper's figure
        (Emergence(after=2000, by=3000, lost=143_000), 2500.0),
        (Emergence(after=3000, by=None, lost=None), 143_000.0),
        (Emergence(after=-1, by=0, lost=None), 0.0),
        (Emergence(after=-1, by=512, lost=None), 512.0),
    ],
)
def test_the_papers_number(emergence: Emergence, step: float) -> None:
    assert find_paper_step(emergence, 143_000) == step


def test_summary_by_size() -> None:
    """Right ends 1000, 2000, 2000 and one seed without to the end: S falls to 3/4 at 1000 and to 1/4 at 2000."""
    without, there = "0000", "1111"
    emerged = {512: {0: without, 512: without, 1000: there}, 1000: {1000: without, 2000: there, 143_000: there}}
    records = make_records(
        {
            ("14m", "0"): emerged[512],
            ("14m", "1"): emerged[1000],
            ("14m", "2"): emerged[1000],
            ("14m", "3"): {0: without, 143_000: without},
            ("70m", "0"): {0: without, 143_000: without},
        },
        runs=[("14m", "0"), ("14m", "1"), ("14m", "2"), ("14m", "3"), ("14m", "4"), ("70m", "0"), ("160m", "0")],
    )
    small, middle, large = summarise(records, "copying")
    assert [summary.group for summary in (small, middle, large)] == ["14m", "70m", "160m"]
    assert (small.emerged, small.censored, small.unmeasured) == (3, 1, 1)
    assert small.paper_mean == pytest.approx((756 + 1500 + 1500 + 143_000) / 4)
    # a quarter by 1000, two quarters in (1000, 2000]: the half in the middle of it; of four seeds no limits
    assert small.median == Estimate(1500.0, 0.0, math.inf, 0.95)
    assert (middle.emerged, middle.censored, middle.median) == (0, 1, Estimate(math.inf, 0.0, math.inf, 0.95))
    assert middle.paper_mean == 143_000
    assert (large.emerged, large.censored, large.unmeasured, large.median) == (0, 0, 1, None)
    assert math.isnan(large.paper_mean)


def test_both_limits_of_the_median() -> None:
    """Forty seeds, ten each in (0, 512], (512, 1000], (1000, 2000], (2000, 3000].

    Of forty seeds the 14th and the 27th bound the median (binomial, 95%).
    """
    ends = {f"{seed}": STEPS[seed // 10 : seed // 10 + 2] for seed in range(40)}
    records = make_records({("14m", seed): {before: "0000", by: "1111"} for seed, (before, by) in ends.items()})
    (summary,) = summarise(records, "copying")
    assert summary.median is not None
    assert summary.median.value == pytest.approx(1000)
    assert (summary.median.lower, summary.median.upper) == (512.0, 2000.0)


def test_summary_of_one_prompt_at_another_level() -> None:
    records = make_records({("14m", seed): {0: "0000", 1000: "1010"} for seed in "0123"})
    (summary,) = summarise(records, "copying, prompt 2", level=0.5)
    assert summary.emerged == 4
    # the interval from the first to the last of four seeds holds the median in 7 of 8 cases
    assert summary.median == Estimate(500.0, 0.0, 1000.0, 0.5)
    assert summarise(records, "copying, prompt 1")[0].emerged == 0


def test_a_prompt_has_to_be_right_twice_and_a_set_once() -> None:
    records = make_records({("14m", "0"): {0: "0000", 512: "1000", 1000: "0110", 2000: "0111", 3000: "0010"}})
    found = [(emergence.after, emergence.by) for emergence in records.find_emergences()]
    assert found == [(2000, None), (512, 1000), (512, 1000), (2000, None), (1000, 2000)]
    longer = records.reread(Rule(above=0.75, hold=3)).find_emergences()
    assert [emergence.by for emergence in longer] == [None, None, 1000, None, None]
