"""The page follows the list of measures, and has a place for those of the user's own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.conftest import tabulate
from tests.report.page import render
from tests.report.traces import find_trace, names_of

from saltus.report.run.measures import draw_measures, list_columns, tabulate_measures, tabulate_numbers
from saltus.report.run.summary import summarise
from saltus.train.measures import MEASURES, Column, Evaluated, Measure
from saltus.train.records import RunRecords

Build = Callable[..., RunRecords]


def measure_nothing(_: Evaluated) -> dict[str, Any]:
    raise NotImplementedError


NORMS = Measure("norms", ("layer", "unit"), (Column("size", "norm of <b>it</b>", "weights"),), measure_nothing)
GRADIENT = Measure("gradient", (), (Column("norm", "of the gradient"), Column("angle", "to the last")), measure_nothing)


@pytest.fixture(scope="module")
def own(three_seeds: RunRecords) -> RunRecords:
    """Three seeds; norms of 2 layers and 2 units that are 100 seed + step / 10 + 1000 layer + 10000 unit."""
    at = three_seeds.evaluated_steps
    seed, evaluation, layer, unit = np.indices((3, len(at), 2, 2)).astype(float)
    norms = tabulate(NORMS, at, {"size": 100 * seed + evaluation + 1000 * layer + 10000 * unit})
    gradient = tabulate(GRADIENT, at, {"norm": seed[:, :, 0, 0], "angle": -seed[:, :, 0, 0]})
    return replace(three_seeds, tables={**three_seeds.tables, "norms": norms, "gradient": gradient})


def test_all_that_was_recorded_is_listed_with_unit_and_meaning(own: RunRecords) -> None:
    rows = [row.cells for row in tabulate_measures(own).rows]
    assert len(rows) == sum(len(measure.columns) for measure in (*MEASURES, NORMS, GRADIENT))
    assert ("norms", "seed, step, layer, unit", "size", "weights", "norm of <b>it</b>") in rows
    entropy = next(row for row in rows if row[2] == "entropy")
    assert entropy == (
        "heads",
        "seed, step, layer, head, unit",
        "entropy",
        "nats",
        "of attention over the candidate keys",
    )


def test_a_file_of_an_older_version_is_described_by_the_list(own: RunRecords) -> None:
    bare = own.tables["units"].replace_schema_metadata(None).cast(own.tables["units"].schema.remove_metadata())
    records = replace(own, tables={**own.tables, "units": bare})
    assert [column.unit_of_measure for column in list_columns(records, "units")] == ["nats", "", "", ""]


def test_the_table_of_numbers_has_the_columns_of_the_measure_of_units(own: RunRecords) -> None:
    units = own.tables["units"]
    more = units.append_column("surprise", units["loss"])
    records = replace(own, tables={**own.tables, "units": more})
    table = tabulate_numbers(records, summarise(records))
    names = [column.name for column in table.columns]
    assert names[5:10] == ["loss", "accuracy", "target_probability", "progress", "surprise"]
    assert all(row.cells[5] == row.cells[9] for row in table.rows)


def test_the_whole_task_is_a_mean_over_queries_and_not_over_units(build: Build) -> None:
    records = build(np.array([[[0.0, 0.0], [1.0, 0.0]]]), states=3)  # two queries of each row
    fewer = records.facts.unit_of_query.copy()
    fewer[np.flatnonzero(fewer == 1)[0]] = -1
    records = replace(records, facts=replace(records.facts, unit_of_query=fewer))
    whole = tabulate_numbers(records, summarise(records)).rows[0].cells
    assert whole[5:9] == pytest.approx((np.log(2) / 3, (1.0 + 1.0 + 0.5) / 3, (1.0 + 1.0 + 0.5) / 3, 0.0))


def test_numbers_name_the_head_that_holds_the_truth(build: Build) -> None:
    progress = np.zeros((1, 3, 2))
    progress[0, -1] = [0.25, 0.75]
    records = build(progress, layers=2, heads=2)
    table = tabulate_numbers(records, summarise(records))
    head = [column.name for column in table.columns].index("head")
    assert [row.cells[head : head + 2] for row in table.rows if not row.strong] == [("1.1", 0.25), ("1.1", 0.75)]


def test_a_measure_of_one_s_own_has_a_line_for_each_place_of_the_seed_and_of_the_mean(own: RunRecords) -> None:
    figures = {figure.key: figure for figure in draw_measures(own, [2, 0])}
    assert list(figures) == ["norms-size", "gradient-norm", "gradient-angle"]
    assert figures["norms-size"].title == "norms: size (weights)"
    assert figures["norms-size"].by == ("seed",)
    figure, caption = figures["norms-size"].views["0"]  # the first of the seeds that can be chosen, number 2
    assert caption == "Norm of <b>it</b>, in seed 2; dotted is the mean over 3 seeds."
    assert [name for name in names_of(figure) if not name.endswith("mean")] == [
        f"layer {layer}, row {unit}" for layer in range(2) for unit in range(2)
    ]
    line, mean = (find_trace(figure, name) for name in ("layer 1, row 1", "layer 1, row 1: mean"))
    np.testing.assert_allclose(line.y, 11200 + np.arange(9))
    np.testing.assert_allclose(mean.y, 11100 + np.arange(9))
    np.testing.assert_array_equal(line.x, own.evaluated_steps)
    plain, _ = figures["gradient-angle"].views["1"]
    assert names_of(plain) == ["seed 0", "mean"]
    np.testing.assert_allclose(find_trace(plain, "mean").y, -1.0)


def test_of_many_places_some_are_drawn_and_it_is_said(three_seeds: RunRecords) -> None:
    wide = Measure("wide", ("query",), (Column("value", ""),), measure_nothing)
    values = np.arange(3 * 9 * 50, dtype=float).reshape(3, 9, 50)
    tables = {**three_seeds.tables, "wide": tabulate(wide, three_seeds.evaluated_steps, {"value": values})}
    ((figure, caption),) = [f.views["0"] for f in draw_measures(replace(three_seeds, tables=tables), [0])]
    assert len(names_of(figure)) == 2 * 12
    assert {"query 0", "query 49"} <= set(names_of(figure))
    assert caption.startswith("Value, in seed 0;")
    assert "12 of 50 places on the axes query are drawn, spread evenly." in caption


def test_an_axis_of_units_of_another_number_is_numbered(three_seeds: RunRecords) -> None:
    strange = Measure("strange", ("unit",), (Column("value", ""),), measure_nothing)
    table = tabulate(strange, three_seeds.evaluated_steps, {"value": np.zeros((3, 9, 5))})
    ((figure, _),) = [
        f.views["0"] for f in draw_measures(replace(three_seeds, tables={**three_seeds.tables, "strange": table}), [0])
    ]
    assert "unit 4" in names_of(figure)


def test_own_measures_are_on_the_page(own: RunRecords, tmp_path: Path) -> None:
    page = render(tmp_path, own)
    assert {"norms-size", "gradient-norm", "gradient-angle"} < page.sections[0]["figures"].keys()
    assert "norms seed, step, layer, unit size weights norm of <b>it</b>" in page.text
    assert page.find("b") == []
