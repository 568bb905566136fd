"""A seed whose loss is not a finite number any more has diverged: it is counted apart, and said everywhere."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from saltus import api
from saltus.curves import Curve, Key, Rule, find_emergence
from saltus.report.curves.words import caption_raster, describe_emergence, format_interval
from saltus.specs import RunSpec
from saltus.studies.cells import Cell
from saltus.studies.results import Result, Results
from saltus.studies.tables import write_emergence, write_seeds
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def diverged(tiny: RunSpec, tmp_path: Path, in_this_process: None) -> tuple[RunFolder, str]:
    """Both seeds are gone after the first update; and what was said meanwhile."""
    values = tiny.model_dump()
    values["training"] |= {"weight_decay": 1e30}
    console = Console(file=io.StringIO(), width=200)
    folder = api.run(RunSpec(**values), out=str(tmp_path), device="cpu", console=console)
    assert isinstance(console.file, io.StringIO)
    return folder, console.file.getvalue()


def test_it_is_said_while_it_trains_once_for_each_seed(diverged: tuple[RunFolder, str]) -> None:
    said = re.findall(r"tiny: seed (\d) has diverged at step 1: its loss is not a finite number", diverged[1])
    assert said == ["0", "1"]


def test_it_is_in_the_records_the_table_and_the_report(
    diverged: tuple[RunFolder, str], saltus: Saltus, tmp_path: Path
) -> None:
    folder, _ = diverged
    records = folder.records()
    assert records.diverged == {"0": 1, "1": 1}
    assert {e.diverged for e in records.curves.emergences()} == {1}
    code, out, _ = saltus("show", folder.path)
    assert code == 0
    told = " ".join(out.split())
    assert "2 of 2 seeds diverged (seed 0 at step 1, seed 1 at step 1)" in told
    assert "diverged at 1" in told
    page = api.report([folder], str(tmp_path / "page.html")).read_text()
    assert "2 seeds diverged: what had not emerged there never will." in page
    results = Results([Result(Cell(run=folder.spec()), records, "full")])
    assert "0, 0 of 4 (2 diverged)" in write_emergence(results)
    assert [row["diverged_at"] for row in csv.DictReader(io.StringIO(write_seeds(results)))] == ["1", "1"]
    assert results[0].compare_loss("cell").note == "2 of 2 seeds diverged"


def test_a_healthy_run_has_none(finished: RunFolder) -> None:
    assert finished.records().diverged == {}
    assert {e.diverged for e in finished.records().curves.emergences()} == {None}


def test_what_emerged_before_it_diverged_emerged_and_was_lost() -> None:
    steps = np.arange(0, 60, 10)
    values = np.array([0.0, 1.0, 1.0, np.nan, np.nan, np.nan])
    curve = Curve(Key("g", "0", "u"), steps, values, diverged=30)
    found = find_emergence(curve, Rule(above=0.5, hold=2))
    assert (found.by, found.lost, found.diverged) == (10, 30, 30)
    assert format_interval(found) == "(0, 10]"
    never = find_emergence(Curve(Key("g", "1", "u"), steps, values * 0.0, diverged=30), Rule(above=0.5, hold=2))
    assert (never.by, never.after) == (None, 40)  # watched to the end: it counts as one that does not come
    assert (format_interval(never), describe_emergence(never)) == ("diverged at 30", "not by 40, diverged at 30")
    assert "1 seed diverged" in caption_raster([never])


def test_a_loss_that_comes_back_has_not_diverged(finished: RunFolder) -> None:
    """One that is not finite at a single evaluation is a gap."""
    records = finished.records()
    table = records.tables["units"]
    losses = table["loss"].to_numpy().copy()
    losses[table["step"].to_numpy() == 10] = np.nan
    place = table.column_names.index("loss")
    once = records.select(
        {**records.tables, "units": table.set_column(place, table.field(place), [losses])}, records.kept
    )
    assert once.diverged == {}


def test_a_hold_that_is_too_long_is_said_before_training(tiny: RunSpec, tmp_path: Path, in_this_process: None) -> None:
    values: dict[str, Any] = tiny.model_dump() | {"emergence": {"hold": 20}}
    spec = RunSpec(**values)
    console = Console(file=io.StringIO(), width=400)
    api.run(spec, out=tmp_path, device="cpu", console=console)
    assert isinstance(console.file, io.StringIO)
    first = console.file.getvalue().splitlines()[0]
    assert first.startswith("note: tiny: a unit has to hold for 20 evaluations and there are ")
    assert "take a smaller emergence.hold" in first
