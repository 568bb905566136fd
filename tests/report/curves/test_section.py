"""The section on curves that were read from anywhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from tests.report.page import render

from saltus.curves import Curves, Rule, gather_curves


def test_curves_of_anybody_have_a_page(accuracies: Curves, tmp_path: Path) -> None:
    page = render(tmp_path, accuracies)
    assert "5 of 8 curves emerged: accuracy of at least 0.5 at 2 evaluations in a row." in page.text
    assert "2 groups · 4 seeds · 2 units · 400 steps" in page.text
    assert "Read from a folder." in page.text
    assert "sums 1 of 2 · 300 [0, ∞] 2 of 2 · 150 [0, ∞]" in page.text
    # The last evaluation, at 400, could not have been confirmed at another one: what is known ends at 300.
    assert "small a sums 300 > 300" in page.text
    assert "small b sums 200 300" in page.text
    section = page.sections[0]
    assert {key: len(figure["views"]) for key, figure in section["figures"].items()} == {
        "survival": 2,
        "raster": 2,
        "lines": 4,
    }
    names = [trace["name"] for trace in section["figures"]["lines"]["views"]["0,1"]["figure"]["data"]]
    assert names == ["chance 0", "ceiling 1", "rule 0.5", "seed a", "seed b"]
    assert len(page.find("select")) == 2


def test_one_curve_needs_no_choice(accuracies: Curves, tmp_path: Path) -> None:
    page = render(tmp_path, accuracies.select(group="large", seed="a", unit="sums"))
    assert page.find("select") == []
    assert "How many seeds" not in page.text


def test_the_whole_is_shown_first_and_set_apart(accuracies: Curves, tmp_path: Path) -> None:
    page = render(tmp_path, replace(accuracies, whole="<b>words"))
    assert page.sections[0]["choices"] == {"group": 0, "unit": 1}
    assert [row.get("class") for row in page.find("tr")].count("strong") == 4


def test_steps_that_are_missing_and_runs_without_a_unit_are_no_problem(accuracies: Curves, tmp_path: Path) -> None:
    first, *rest = accuracies
    gap = replace(first, missing=(350, 450))
    page = render(tmp_path, replace(accuracies, curves=(gap, *rest[1:])))  # seed a of `small` has one unit
    assert "small a sums 300 > 300 350 450" in page.text


def test_of_many_units_some_can_be_chosen(tmp_path: Path) -> None:
    units = [f"unit {number}" for number in range(200)]
    found = gather_curves("g", ["0"], units, np.array([0, 10]), np.zeros((1, 2, 200)))
    page = render(tmp_path, Curves(found, "loss", Rule(below=0.5), unit_of_measure="nats"))
    assert len(page.find("option")) == 64
    assert "64 of 200 units, spread evenly" in page.text
    assert page.text.count("g 0 unit") == 200  # all are in the table
