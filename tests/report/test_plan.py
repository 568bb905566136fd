"""The page of a plan: its figure holds the curve, the line and the answer, and the command writes it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from saltus.measure.outlook import guess_outlook
from saltus.measure.planning import plan_sighting
from saltus.report.html.blocks import Table
from saltus.report.plan.section import describe_planning, draw_power
from saltus.report.terminal.plans import tabulate_plan

Saltus = Callable[..., tuple[int, str, str]]


def test_the_figure_draws_the_curve_the_line_and_the_answer() -> None:
    plan = plan_sighting(guess_outlook(100.0, 0.45, 0.1), 5.0, budgets=(100_000.0,))
    figure = draw_power(plan).to_dict()
    by_name = {trace["name"]: trace for trace in figure["data"]}
    assert list(by_name) == ["success", "wanted: 95%", "the answer"]
    curve = dict(zip(by_name["success"]["x"], by_name["success"]["y"], strict=True))
    assert curve[29] == pytest.approx(1 - 0.9**29)  # the closed form
    assert curve[1] == pytest.approx(0.1)
    assert (list(by_name["the answer"]["x"]), list(by_name["wanted: 95%"]["y"])) == ([29], [0.95, 0.95])
    section = describe_planning(plan, "see it at least once")
    assert section.headline == "To see it at least once with 95% certainty: 29 seeds, 100,000 steps."


def test_lengths_below_a_step_are_not_rounded_to_nothing() -> None:
    """As of a training that counts epochs: 0 would be watching at all times."""
    plan = plan_sighting(guess_outlook(5.0, 0.45, 0.5), 0.25)
    console = Console(record=True, width=120)
    console.print(tabulate_plan(plan))
    told = console.export_text()
    assert "the pilot" not in told  # there is none
    assert all(f" {every} " in told for every in ("0.125", "0.0625", "0.25", "0.5", "always"))
    assert " 0 " not in told
    table = next(block for block in describe_planning(plan, "see it").blocks if isinstance(block, Table))
    assert {row.cells[3] for row in table.rows if row.cells[0] != "seeds"} >= {0.125, 0.0625, 0}
    assert {column.digits for column in table.columns} == {3}


def test_a_pilot_has_a_line_and_a_mark_of_its_own() -> None:
    guess = guess_outlook(100.0, 0.45, 0.1)
    piloted = plan_sighting(replace(guess, seeds=5), 5.0)
    assert piloted.pilot is not None
    by_name = {trace["name"]: trace for trace in draw_power(piloted).to_dict()["data"]}
    mark = by_name["as many seeds as the pilot"]
    assert (list(mark["x"]), list(mark["y"])) == ([5], [piloted.pilot.success])
    assert "if the pilot were the truth" in by_name


def test_the_command_writes_the_page(saltus: Saltus, tmp_path: Path) -> None:
    to = tmp_path / "own" / "plan.html"
    code, out, error = saltus("plan", "--see", "--median", "100", "--share", "0.1", "--budget", "100000", "--to", to)
    assert (code, error) == (0, "")
    assert f"plan: {to}" in out
    page = to.read_text()
    assert "29 seeds, 100,000 steps" in page
    assert "Success against seeds" in page
