"""The section on a scan: complete whatever the scan came to."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console
from tests.report.page import render

from saltus.curves import Rule
from saltus.lm.scanning.records import SCAN_TABLES, ScanRecords
from saltus.report.scan.section import list_numbers
from saltus.report.scan.summary import summarise_scan
from saltus.report.terminal.tables import tabulate_orders

Scan = Callable[..., ScanRecords]
STEPS = (0, 1, 10, 100, 1000, 2000, 4000)
TWO_SIZES = {("14m", "0"): [None] * 4, ("14m", "1"): [1000, 1000, 1000, None], ("70m", "0"): [10] * 4}
"""Of the set (3 of 4 prompts): 14m never and in (100, 1000], 70m in (1, 10]."""


def test_every_number_of_a_run_is_in_the_table(scan: Scan, tmp_path: Path) -> None:
    records = scan(TWO_SIZES, steps=STEPS, missing=[("14m", "1", 4000, "damaged")])
    assert len(list_numbers(summarise_scan(records), records)) == 3 * 5
    page = render(tmp_path, records)
    assert "14m 1 copying the set 100 1000 0.1000 0.7000 6" in page.text
    assert "14m 0 copying the set 4000 > 4000 0.1000 0.1000 7" in page.text
    assert "14m 1 copying 3 1000 > 1000 4000 0.1000 0.1000 6" in page.text
    assert "1 capability · 2 sizes, 3 runs · 20 of 21 listed checkpoints measured, 1 missing" in page.text
    assert "14m 1 4000 damaged 1 prompt of copying" in page.text
    assert "copying 1 of 2 · 1,000 [0, ∞] 1 of 1 · 6 [0, ∞]" in page.text


def test_figures_are_drawn_for_what_was_measured(scan: Scan, tmp_path: Path) -> None:
    emerges = {**TWO_SIZES, ("160m", "0"): None}
    page = render(tmp_path, scan(emerges, steps=STEPS, capabilities=["copying", "ioi"], foils=["ioi"]))
    assert len(page.plots) == 5
    figures = page.sections[0]["figures"]
    assert set(figures["sizes"]["views"]) == {"0", "1"}
    assert set(figures["trajectories"]["views"]) == {"0,0", "0,1", "1,0", "1,1"}  # nothing of 160m
    assert set(figures["margins"]["views"]) == {"1,0", "1,1"}  # copying has no foil


def test_another_rule_is_said_and_followed(scan: Scan, tmp_path: Path) -> None:
    records = scan(TWO_SIZES, steps=STEPS).reread(Rule(above=1.0, hold=2))
    text = render(tmp_path, records).text
    assert "copying is there where at least 100% of 4 prompts are right at 2 checkpoints in a row" in text
    assert "14m 1 copying the set 2000 > 2000" in text


@pytest.mark.parametrize(
    ("emerges", "said"),
    [
        ({("14m", "0"): [None] * 4}, "copying emerged in none"),
        ({("14m", "0"): [10] * 4}, "copying emerged in 1"),
        ({("14m", "0"): None}, "No checkpoint of the 1 run could be measured"),
        ({("14m", "0"): None, ("70m", "0"): [10] * 4}, "Of 1 run, copying emerged in 1"),
        ({("14m", "0"): [0] * 4}, "copying emerged in 1"),
        ({}, "No checkpoint of the 0 runs could be measured"),
    ],
)
def test_scans_with_little_in_them(
    scan: Scan, tmp_path: Path, emerges: dict[tuple[str, str], list[int | None] | None], said: str
) -> None:
    page = render(tmp_path, scan(emerges, steps=STEPS, finished=False))
    assert said in page.text
    assert "This scan is not finished" in page.text
    assert len(page.find("select")) == (len(emerges) > 1)  # of sizes alone


def test_a_scan_without_prompts_has_a_section(scan: Scan, tmp_path: Path) -> None:
    records = scan({("14m", "0"): None}, steps=STEPS)
    page = render(tmp_path, replace(records, prompts=records.prompts.slice(0, 0)))
    assert page.sections[0]["figures"] == {}


def test_a_long_table_leaves_prompts_out_and_says_so(
    scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saltus.report.scan.section._MOST_ROWS", 14)
    page = render(tmp_path, scan(TWO_SIZES, steps=STEPS))
    assert "Single prompts (12 rows) are left out here; they are in scan-0123456789/records/" in page.text
    assert page.text.count("copying the set") == 3
    assert "14m 1 copying 3" not in page.text


def add_patterns(records: ScanRecords, since: dict[tuple[str, str], int]) -> ScanRecords:
    """Two heads at every measured checkpoint; the second has induction from the step that `since` gives on."""
    checkpoints = records.probes.select(["size", "seed", "step"]).group_by(["size", "seed", "step"]).aggregate([])
    rows = [
        {**row, "pattern": "induction", "layer": 0, "head": head, "chance": 0.1}
        | {"mass": 0.9 if head and row["step"] >= since[row["size"], row["seed"]] else 0.1}
        for row in checkpoints.to_pylist()
        for head in range(2)
    ]
    table = pa.Table.from_pylist(rows, schema=SCAN_TABLES["patterns"])
    return replace(records, patterns=table, spec=records.spec.model_copy(update={"patterns": ("induction",)}))


def test_a_page_says_whether_a_pattern_or_the_capability_came_first(scan: Scan, tmp_path: Path) -> None:
    emerges = {("14m", str(seed)): [step] * 4 for seed, step in enumerate([1000, 2000, 10, None])}
    since = {("14m", "0"): 100, ("14m", "1"): 10, ("14m", "2"): 100, ("14m", "3"): 9999}
    records = add_patterns(scan(emerges, steps=STEPS), since)
    page = render(tmp_path, records)
    assert "copying 14m induction 4 2 1 0 1 900 (-90 to 1,990) 0.100" in page.text
    assert set(page.sections[0]["figures"]["patterns"]["views"]) == {"0,0"}
    assert "first measured checkpoint at which a head has it, which 3 of 4 seeds came to" in page.text
    console = Console(width=160, file=StringIO())
    console.print(*tabulate_orders(records))
    assert isinstance(console.file, StringIO)
    assert "induction │ 2 of 4 │ 1 │ 1 │ 900 (-90 to 1,990)" in " ".join(console.file.getvalue().split())
    assert "patterns" not in render(tmp_path, scan(emerges, steps=STEPS)).sections[0]["figures"]
    assert tabulate_orders(scan(emerges, steps=STEPS)) == []
