"""Tables for the terminal."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from saltus.curves import Curves, Rule
from saltus.lm.audit.folder import AuditRecords
from saltus.lm.patching.records import PatchRecords
from saltus.lm.scanning.records import ScanRecords
from saltus.report.terminal.tables import (
    tabulate_audit,
    tabulate_curves,
    tabulate_patch,
    tabulate_run,
    tabulate_scan,
    tabulate_sizes,
)
from saltus.train.records import RunRecords

Build = Callable[..., RunRecords]
STEPS = (0, 1, 10, 100, 1000, 2000, 4000)
TWO_SIZES = {("14m", "0"): [None] * 4, ("14m", "1"): [1000, 1000, 1000, None], ("70m", "0"): [10] * 4}
"""Of the set (3 of 4 prompts): 14m never and in (100, 1000], 70m in (1, 10]."""


def show(table: Table, width: int = 80) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


def read_rows(table: Table) -> list[list[str]]:
    """The cells of each line that has any."""
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in show(table, 200) if line[:1] in "│┃"]


def test_a_run_has_a_line_for_each_seed(three_seeds: RunRecords) -> None:
    lines = show(tabulate_run(three_seeds))
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if re.match(r" +\d +(\(|-)", line)]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[0][1:7] == ["(10,", "20]", "(30,", "40]", "(30,", "40]"]
    assert " ".join(rows[1]).startswith("1 (20, 30] (20, 30] > 70 (1 of 2 rows)")
    assert " ".join(rows[2]) == "2 - - > 70 (0 of 2 rows)"


def test_the_bar_is_full_when_and_only_when_all_units_are_there(three_seeds: RunRecords) -> None:
    bars = [line.rstrip() for line in show(tabulate_run(three_seeds))]
    done = next(line for line in bars if line.lstrip().startswith("0 ") and "(10, 20]" in line)
    losing = next(line for line in bars if line.lstrip().startswith("1 ") and "(20, 30]" in line)
    assert done.endswith(" ▄▄▄████████")
    assert "█" not in losing


def test_names_are_never_read_as_markup(build: Build) -> None:
    lines = show(tabulate_run(build(np.zeros((1, 3, 2)), names=["[bold]a[/bold] 0", "[/] 1"])))
    assert any("all 2 units" in line for line in lines)


def test_curves_have_a_line_each_by_their_own_rule_or_another(accuracies: Curves) -> None:
    header, *rows = read_rows(tabulate_curves(accuracies))
    assert header == ["group", "seed", "unit", "interval", "lost at", "missing"]
    assert len(rows) == 8
    assert rows[0] == ["small", "a", "sums", "> 300", "", ""]
    assert rows[2] == ["small", "b", "sums", "(200, 300]", "", ""]
    assert rows[5] == ["large", "a", "<b>words", "(100, 200]", "", ""]
    title = " ".join(show(tabulate_curves(accuracies, Rule(above=0.5)))).split("┏")[0]
    assert "5 of 8 curves emerged: accuracy of at least 0.5" in " ".join(title.split())
    _, first, *_ = read_rows(tabulate_curves(accuracies, Rule(above=0.5)))
    assert first[3] == "> 400"


def test_a_scan_has_a_line_for_each_run_and_a_summary_by_size(scan: Callable[..., ScanRecords]) -> None:
    records = scan(TWO_SIZES, steps=STEPS, missing=[("14m", "0", 2000, "gone")])
    assert read_rows(tabulate_scan(records))[1:] == [
        ["copying", "14m", "0", "> 4,000", "", "0 of 4"],
        ["copying", "14m", "1", "(100, 1,000]", "", "3 of 4"],
        ["copying", "70m", "0", "(1, 10]", "", "4 of 4"],
    ]
    assert "polypythias: 20 of 21 checkpoints measured, 1 missing" in " ".join(show(tabulate_scan(records), 200))
    assert read_rows(tabulate_sizes(records))[1:] == [
        ["copying", "14m", "2", "1", "1,000 [0, ∞]", "2,275"],
        ["copying", "70m", "1", "1", "6 [0, ∞]", "6"],
    ]


def test_a_patch_has_its_largest_effects_and_a_verdict(patch: Callable[..., PatchRecords]) -> None:
    table, verdict = tabulate_patch(patch([[0.1, 0.0], [-0.3, 0.2]]))
    assert [row[:3] for row in read_rows(table)[1:3]] == [
        ["1", "0", "-0.300 [-0.316, -0.284]"],
        ["1", "1", "+0.200 [+0.189, +0.211]"],
    ]
    assert verdict.startswith("The patterns of the best 2 heads bring back 85%")


def test_an_audit_has_faults_first(audit: AuditRecords) -> None:
    rows = read_rows(tabulate_audit(audit))
    assert [row[:5] for row in rows[1:]] == [
        ["fault", "identical", "410m", "1", "96,000"],
        ["note", "known", "14m", "0", ""],
    ]


@pytest.mark.parametrize("text", ["[bold]", "[/]"])
def test_findings_are_never_read_as_markup(audit: AuditRecords, text: str) -> None:
    rows = [row | {"detail": text} for row in audit.findings.to_pylist()]
    findings = type(audit.findings).from_pylist(rows, schema=audit.findings.schema)
    changed = AuditRecords(audit.path, audit.suite, findings, audit.checkpoints)
    assert read_rows(tabulate_audit(changed))[1][5] == text
