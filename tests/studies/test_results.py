"""What is kept of a study, and the page that is made of it."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tests.studies.arms import invent, make_result, make_spec, solve

from saltus import api
from saltus.errors import SaltusError
from saltus.paper.targets import read_fall, read_passings, read_plateaus, read_rows, read_targets
from saltus.specs import RunSpec
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison
from saltus.studies.costs import write_costs
from saltus.studies.page import describe_row, write_results
from saltus.studies.results import Result, Results
from saltus.studies.sources import RunFolders, keep, open_source, read_results, slim
from saltus.studies.study import Study, load_study
from saltus.studies.tables import write_claims, write_comparisons, write_emergence, write_seeds
from saltus.train.archive import Archive
from saltus.train.folder import RunFolder
from saltus.train.records import RunRecords, SnapshotRows

Saltus = Callable[..., tuple[int, str, str]]

STUDY = '''"""A tiny study.

More of it.
"""
from matplotlib.figure import Figure
from saltus.studies.claims import Claim, Comparison
from saltus.specs import RunSpec
from saltus.studies.cells import Cell
from saltus.studies.study import Study

TINY = {tiny!r}
RATES = {{"a": 1e-3, "b": 3e-3, "c": 1e-4}}

def make(name, seeds, **training):
    return RunSpec(**(TINY | {{"name": name, "seeds": seeds, "training": TINY["training"] | training}}))

def cell(name, seeds, **training):
    return Cell(rate=RATES[name], run=make(name, seeds, learning_rate=RATES[name], **training))

def draw(results):
    figure = Figure()
    figure.subplots().plot([len(results)])
    return figure

def compare(results):
    return [Comparison(r.name, 0.5, list(r.final_loss), r.scale) for r in results]

def judge(results):
    return [Claim("a < b | c", "reproduced" if results.get(rate=1e-3) else "not measured", "because")]

def study_of(cells, laptop=()):
    return Study(cells=cells, laptop=laptop, draw=draw, compare=compare, judge=judge)

study = study_of([cell("a", 2), cell("b", 2), cell("c", 2)], [cell("a", 1), cell("b", 1)])
'''


@pytest.fixture
def study(tiny: RunSpec, tmp_path: Path) -> Path:
    path = tmp_path / "little.py"
    path.write_text(STUDY.format(tiny=tiny.model_dump()))
    return path


def rewrite(study: Path, code: str) -> None:
    """Let the file export another study, made with what is in it."""
    study.write_text(f"{study.read_text()}\n{code}\n")


def test_only_the_runs_that_were_named_are_trained(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    only = ("--only", "c", "--only", "a", "--steps", "1")
    assert saltus("run", study, *only, "--out", tmp_path / "runs", "--device", "cpu")[0] == 0
    assert {path.name[0] for path in (tmp_path / "runs").glob("?-*")} == {"a", "c"}


def test_a_whole_name_is_that_run_alone(study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None) -> None:
    rewrite(study, "study = study_of([Cell(rate=n, run=make(f's{n}', 1, warmup=n)) for n in (1, 10, 2)])")
    for only, trained in (("s1", {"s1"}), ("1", {"s1", "s10"})):
        assert saltus("run", study, "--only", only, "--steps", "1", "--out", tmp_path / only, "--device", "cpu")[0] == 0
        assert {path.name.partition("-")[0] for path in (tmp_path / only).glob("s*-*")} == trained


def test_a_cell_is_shown_at_the_largest_scale_that_was_run(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    out, kept = tmp_path / "runs", tmp_path / "results" / "records"
    assert saltus("run", study, "--scale", "laptop", "--out", out, "--device", "cpu")[0] == 0
    assert saltus("run", study, "--only", "a", "--out", out, "--device", "cpu")[0] == 0
    assert saltus("keep", study, "--out", out, "--to", kept)[1] == f"{study}: 2 more runs in {kept}\n"
    assert saltus("keep", study, "--out", out, "--to", kept)[1] == f"{study}: 0 more runs in {kept}\n"
    results = read_results(load_study(study), open_source(kept))
    assert {result.name: result.scale for result in results} == {"a": "full", "b": "laptop"}
    assert saltus("figures", study, "--out", kept)[0] == 0
    first = (kept.parent / "README.md").read_text()
    assert (
        '| [<img src="little.png" width="160" alt="little">](little.md) | A tiny study. | **1 reproduced** |' in first
    )
    assert "| [little](little.md) | a < b \\| c | **reproduced** | 1 to 2 | full and laptop |" in first
    page = (kept.parent / "little.md").read_text()
    assert "# A tiny study." in page
    assert "| a | 0.500 |" in page
    assert "Cells: 1 full, 1 laptop, 1 of 3 not run; every seed is in [little.csv](little.csv)." in page
    assert f"`saltus run {study.as_posix()}`" in page  # at full size, as one of its cells was run
    assert "| a < b \\| c | **reproduced** | because |" in page
    assert (kept.parent / "little.png").read_bytes()[:4] == b"\x89PNG"
    assert [row["run"] for row in read_csv((kept.parent / "little.csv").read_text())] == ["a", "a", "b"]


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_results_stand_in_the_order_of_the_study(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    rewrite(study, "study = study_of([cell('b', 2), cell('a', 2)], [cell('b', 1)])")
    for options in (("--only", "a"), ("--scale", "laptop")):
        assert saltus("run", study, "--out", tmp_path / "runs", "--device", "cpu", *options)[0] == 0
    results = read_results(load_study(study), RunFolders(tmp_path / "runs"))
    assert [(result.name, result.scale) for result in results] == [("b", "laptop"), ("a", "full")]


@pytest.fixture
def cells() -> Results:
    """Three results of four cells, with keys of every type."""
    keys: list[dict[str, Any]] = [
        {"size": 8, "biased": True},
        {"size": 8, "biased": False},
        {"size": 16, "biased": False},
        {"move": "near", "rate": 3e-3},
    ]
    planned = [Cell(run=make_spec(name=f"cell-{n}"), **key) for n, key in enumerate(keys)]
    return Results([solve(cell, [500]) for cell in planned if cell.name != "cell-2"], planned)


def test_a_result_is_found_by_its_keys(cells: Results) -> None:
    found = cells.get(size=8, biased=True)
    assert found
    assert (found.name, found["size"], found["biased"]) == ("cell-0", 8, True)
    assert cells.get(rate=3e-3) is cells.get(move="near", rate=3e-3)
    assert cells.get(size=16, biased=False) is None  # not run
    assert [result.name for result in cells.where(size=8)] == ["cell-0", "cell-1"]
    assert [cell.name for cell in cells.where(biased=False).planned] == ["cell-1", "cell-2"]
    assert [result.name for result in cells.having("move", "rate")] == ["cell-3"]
    assert not cells.having("move", "size")
    assert list(cells.where(size=8).by("biased")) == [True, False]
    assert cells.by("nothing") == {}


def test_what_fits_several_cells_or_no_key_is_said(cells: Results) -> None:
    with pytest.raises(SaltusError, match=r"\{'size': 8\} fits more than one cell: cell-0, cell-1; give more"):
        cells.get(size=8)
    with pytest.raises(SaltusError, match="fits more than one cell: cell-0, cell-1, cell-3"):
        cells.get()
    with pytest.raises(SaltusError, match="several cells have the same size; choose among them with where"):
        cells.by("size")
    with pytest.raises(SaltusError, match="no cell has the key 'szie'; the keys are size, biased, move, rate"):
        cells.get(szie=8)


def test_a_level_is_passed_at_the_first_evaluation_below_it() -> None:
    """Whatever comes after; exactly at the level is not below; before step 0 there is no batch."""
    losses = {"train_loss": [np.nan, 1.3, 1.2, 1.4], "lowest_train_loss": [np.inf, 1.29, 1.1, 1.35]}
    rows = [
        {"seed": seed, "step": 20 * n} | {name: values[n] + 0.25 * seed for name, values in losses.items()}
        for seed in (0, 1)
        for n in range(4)
    ]
    result = invent(Cell(run=make_spec(2)), rows)
    assert result.passings(1.3) == [40, None]
    assert result.passings(1.3, "lowest_train_loss") == [20, None]
    assert_array_equal(result.final_loss, [1.4, 1.65])
    with pytest.raises(SaltusError, match=r"do not say accuracy, as version 0\.1 or before made them"):
        result.passings(0.5, "accuracy")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ({"heads": 4, "rate": 1e-3}, "heads-4-rate-0.001"),
        ({"biased": True, "Arm": "MLP mixer/2"}, "biased-true-arm-mlp-mixer-2"),
        ({}, "run"),
        ({"x": "y" * 99}, "x-" + "y" * 62),
    ],
)
def test_a_run_without_a_name_is_named_by_the_keys_of_its_cell(key: dict[str, Any], name: str) -> None:
    assert Cell(run=make_spec(name="run"), **key).name == name
    assert Cell(run=make_spec(name="given"), **key).name == "given"


def test_keys_that_make_no_name_are_said() -> None:
    with pytest.raises(SaltusError, match="name is '_x-1'; allowed are"):
        Cell(run=make_spec(name="run"), _x=1)


def test_a_cell_keeps_its_keys_with_other_seeds_and_steps() -> None:
    cell = Cell(size=4, patterns=True, run=make_spec(3))
    assert cell.change(seeds=None, steps=None).run == cell.run
    changed = cell.change(seeds=5, steps=7)
    assert (changed.run.seeds, changed.run.training.steps) == (5, 7)
    assert (changed.key, changed.patterns, changed.name) == ({"size": 4}, True, "cell")


def test_laptop_cells_have_keys_of_the_cells() -> None:
    cells = [Cell(a=1, run=make_spec(name="one")), Cell(a=2, run=make_spec(name="two"))]
    small = Study(cells=cells, laptop=[Cell(a=2, run=make_spec(name="small"))])
    assert [cell.name for cell in small.at("laptop")] == ["small"]
    with pytest.raises(SaltusError, match="`laptop` has 'one', whose keys no cell of `cells` has; what is drawn"):
        Study(cells=cells, laptop=[Cell(a=2, b=1, run=make_spec(name="one"))])
    with pytest.raises(SaltusError, match="scale: 'laptop' was given; the study  has full"):
        Study(cells=cells).at("laptop")


@pytest.mark.parametrize("made", ["draw", "compare", "judge", "follow", "arms"])
def test_what_is_made_of_results_is_a_function(made: str) -> None:
    values: dict[str, Any] = {made: 3}
    with pytest.raises(SaltusError, match=f"`{made}` is 3; it is a function of the results"):
        Study(cells=[Cell(run=make_spec())], **values)


@pytest.mark.parametrize("cells", [[], 3, "cell", [make_spec()], iter([Cell(run=make_spec())])])
def test_cells_are_a_list_of_cells(cells: Any) -> None:
    with pytest.raises(SaltusError, match=r"`cells` is .*; it is a non-empty list of Cell"):
        Study(cells=cells)


def test_a_neighbour_is_imported_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("SIZE = 4\n")
    (tmp_path / "own.py").write_text("from .shared import SIZE\n")
    with pytest.raises(
        SaltusError, match=r"own\.py:1: the study raised ImportError: attempted relative import with no"
    ):
        load_study(tmp_path / "own.py")


def test_a_study_may_import_its_neighbours(tmp_path: Path) -> None:
    """Each time that it is loaded anew, and never those of a study in another folder."""
    for folder, size in (("first", 4), ("second", 5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shared.py").write_text(f"SIZE = {size}\n")
        (tmp_path / folder / "study.py").write_text(
            "from shared import SIZE\n"
            "from saltus.specs import LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec\n"
            "from saltus.studies.study import Cell, Study\n"
            "task, training = LinearMapSpec(size=SIZE, sparsity=2), TrainingSpec(steps=1, batch_sequences=1)\n"
            "study = Study(cells=[Cell(size=SIZE, run=RunSpec(task=task, model=TransformerSpec(), training=training))])"
        )
    for folder, size in (("first", 4), ("second", 5), ("first", 4)):
        assert load_study(tmp_path / folder / "study.py").cells[0].key == {"size": size}
    (tmp_path / "first" / "shared.py").write_text("SIZE = 6\n")
    assert load_study(tmp_path / "first" / "study.py").cells[0].key == {"size": 6}
    (tmp_path / "first" / "shared.py").write_text("SIZE = 1 / 0\n")
    with pytest.raises(SaltusError, match=r"study\.py:1: the study raised ZeroDivisionError: division by zero"):
        load_study(tmp_path / "first" / "study.py")


class Shelf:
    """Finished runs, each with the records of the tiny one."""

    def __init__(self, finished: RunFolder, specs: Sequence[RunSpec]) -> None:
        self.records = finished.records()
        self.specs = list(specs)

    def find(self, spec: RunSpec) -> RunRecords | None:
        return self.records.of(spec) if spec in self.specs else None


@pytest.fixture
def little(tiny: RunSpec) -> Study:
    specs = {name: tiny.model_copy(update={"name": name, "master_seed": n}) for n, name in enumerate("abc")}
    return Study(cells=[Cell(cell=name, run=spec) for name, spec in specs.items()], name="little")


@pytest.fixture
def shelf(little: Study, finished: RunFolder) -> Shelf:
    """Two of the three cells."""
    return Shelf(finished, [cell.run for cell in little.cells[:2]])


def test_what_is_kept_is_exact_and_has_no_weights(little: Study, shelf: Shelf, tmp_path: Path) -> None:
    packs, new = keep(little, shelf, Archive(tmp_path / "kept"))
    assert ([pack.name for pack in packs], new) == (["little"], 2)
    assert sum(path.stat().st_size for path in packs[0].iterdir()) < 50_000
    archive, whole = Archive(tmp_path / "kept"), shelf.records
    assert list(archive.list_specs()) == shelf.specs
    for spec in shelf.specs:
        kept = archive.find(spec)
        assert kept
        for name in ("steps", "units"):
            assert kept.tables[name].schema.equals(whole.tables[name].schema, check_metadata=True)
            for column in whole.tables[name].column_names:
                assert_array_equal(kept.tables[name][column].to_numpy(), whole.tables[name][column].to_numpy())
        for field in fields(whole.facts):
            assert_array_equal(getattr(kept.facts, field.name), getattr(whole.facts, field.name))
        assert (kept.spec, kept.summary, kept.rule) == (spec, whole.summary, whole.rule)
        assert len(kept.tables["positions"]) == len(kept.tables["heads"]) == len(kept.snapshots.steps) == 0
    assert archive.find(little.cells[2].run) is None


def test_shares_of_the_way_are_left_out_of_a_pack_where_they_follow_from_the_losses(
    shelf: Shelf, tmp_path: Path
) -> None:
    whole, units = shelf.records, shelf.records.tables["units"]
    place = units.schema.get_field_index("progress")
    other = units.set_column(place, units.schema.field(place), pa.array(units["progress"].to_numpy() + 1e-15))
    for name, table, left_out in (("follows", units, len(units)), ("does-not", other, 0)):
        archive = Archive(tmp_path / name)
        (pack,) = archive.add("one", [replace(whole, tables={**whole.tables, "units": table})])
        assert pq.read_table(pack / "units.parquet")["progress"].null_count == left_out
        found = Archive(tmp_path / name).find(whole.spec)
        assert found
        assert_array_equal(found.tables["units"]["progress"].to_numpy(), table["progress"].to_numpy())


def test_patterns_are_kept_where_a_cell_asks_for_them(little: Study, shelf: Shelf, tmp_path: Path) -> None:
    cells = [Cell(cell=cell.name, run=cell.run, patterns=cell.name == "a") for cell in little.cells]
    archive = Archive(tmp_path / "kept")
    keep(Study(cells=cells, name="little"), shelf, archive)
    kept, whole = archive.find(cells[0].run), shelf.records
    assert kept
    assert kept.tables["heads"].equals(whole.tables["heads"])
    assert_array_equal(kept.snapshots.attention, whole.snapshots.attention)
    assert_array_equal(kept.snapshots.steps, whole.snapshots.steps)
    other = archive.find(cells[1].run)
    assert other
    assert (len(other.tables["heads"]), len(other.snapshots.steps)) == (0, 0)


def test_of_influence_the_last_is_kept(shelf: Shelf) -> None:
    snapshots, generator = shelf.records.snapshots, np.random.default_rng(0)
    snapshots = replace(snapshots, influence=generator.random((len(snapshots.steps), 2, 5, 5), np.float32))
    whole = replace(shelf.records, kept=SnapshotRows.of(snapshots))
    kept = slim(Cell(run=whole.spec), whole)
    assert_array_equal(kept.snapshots.influence, whole.snapshots.influence[-1:])
    assert kept.snapshots.attention.size == 0
    assert kept.future_influence == whole.future_influence


def test_of_a_brief_cell_what_it_has_learned_is_kept(little: Study, shelf: Shelf, tmp_path: Path) -> None:
    run, archive = little.cells[0].run, Archive(tmp_path / "kept")
    keep(Study(cells=[Cell(brief=True, run=run)], name="little"), shelf, archive)
    whole, kept = shelf.records, archive.find(run)
    assert kept
    assert kept.tables["units"]["target_probability"].null_count == len(whole.tables["units"])
    for table, column in (("units", "loss"), ("units", "progress"), ("steps", "train_loss"), ("steps", "scored_loss")):
        exact, short = (records.tables[table][column].to_numpy() for records in (whole, kept))
        assert_allclose(short, exact, rtol=1e-6, atol=1e-6)
    assert_array_equal(kept.tables["units"]["loss"].to_numpy().astype(np.float32), kept.tables["units"]["loss"])
    came, expected = (
        [(one.key.unit, one.after, one.by) for one in records.curves.emergences()] for records in (kept, whole)
    )
    assert came == expected


def test_keeping_again_adds_only_what_is_new(little: Study, shelf: Shelf, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert keep(little, shelf, Archive(kept))[1] == 2
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    assert keep(little, shelf, Archive(kept)) == ([], 0)
    shelf.specs.append(little.cells[2].run)
    packs, new = keep(little, shelf, Archive(kept))
    assert ([pack.name for pack in packs], new) == (["little-2"], 1)
    assert sorted(path.name for path in kept.iterdir()) == ["little", "little-2"]
    assert {path: path.read_bytes() for path in before} == before
    assert [result.name for result in read_results(little, Archive(kept))] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["units.parquet", "runs.parquet", "facts.parquet"])
def test_a_damaged_pack_is_one_sentence_with_a_remedy(little: Study, shelf: Shelf, tmp_path: Path, name: str) -> None:
    ((pack,), _) = keep(little, shelf, Archive(tmp_path / "kept"))
    content = bytearray((pack / name).read_bytes())
    content[len(content) // 2] ^= 1
    (pack / name).write_bytes(content)
    with pytest.raises(SaltusError, match=f"{name} .*; bring the pack {pack} back from where it was copied") as raised:
        Archive(tmp_path / "kept").find(little.cells[0].run)
    assert "\n" not in str(raised.value)


def test_a_part_of_a_pack_that_is_gone_is_named(little: Study, shelf: Shelf, tmp_path: Path) -> None:
    ((pack,), _) = keep(little, shelf, Archive(tmp_path / "kept"))
    (pack / "steps.parquet").unlink()
    with pytest.raises(SaltusError, match=f"steps.parquet is missing; bring the pack {pack} back"):
        Archive(tmp_path / "kept").find(little.cells[0].run)


def test_many_runs_are_kept_in_several_packs(
    little: Study, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = max(shelf.records.tables[name].nbytes for name in ("steps", "units"))
    for largest, names in ((size, ["little", "little-2"]), (2 * size, ["little"])):
        monkeypatch.setattr("saltus.train.archive.LARGEST", largest)
        kept = tmp_path / str(largest)
        packs, new = keep(little, shelf, Archive(kept))
        assert ([pack.name for pack in packs], new) == (names, 2)
        assert [result.name for result in read_results(little, Archive(kept))] == ["a", "b"]


def test_the_packs_of_the_project_are_small() -> None:
    files = [path for path in Path("results/records").rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 5_000_000
    assert sum(path.stat().st_size for path in files) < 40_000_000


def test_seeds_and_steps_stay_with_what_is_kept_and_drawn(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    out, kept = tmp_path / "runs", tmp_path / "results" / "records"
    options = ("--seeds", "1", "--steps", "5")
    assert saltus("run", study, "--only", "a", *options, "--out", out, "--device", "cpu")[0] == 0
    assert "**reproduced** | because" in (out / "little" / "little.md").read_text()
    loaded = load_study(study)
    assert api.keep_results(loaded, out, kept) == 0
    assert api.keep_results(loaded, out, kept, seeds=1, steps=5) == 1
    assert "Not run yet" in api.draw_results([loaded], kept, tmp_path / "whole").read_text()
    page = api.draw_results([loaded], kept, tmp_path / "changed", seeds=1, steps=5)
    assert "| a | 5 | 0 of 4 |" in page.with_name("little.md").read_text()


def test_a_cell_that_another_study_has_run_is_taken_from_there(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    out, kept = tmp_path / "runs", tmp_path / "results" / "records"
    assert saltus("run", study, "--only", "a", "--out", out, "--device", "cpu")[0] == 0
    (done,) = out.glob("a-*")
    other = tmp_path / "other.py"
    other.write_text(study.read_text().replace('"a"', '"first"').replace('"b"', '"second"'))
    assert "1 of 3 runs are finished" in saltus("status", other, "--out", out)[1]
    code, said, _ = saltus("run", other, "--only", "first", "--out", out, "--device", "cpu")
    assert code == 0
    assert f"{done} is finished already" in said
    assert [api.keep_results(load_study(path), out, kept) for path in (other, study)] == [1, 0]
    for place in (out, kept):
        (result,) = read_results(load_study(other), open_source(place))
        assert result.name == result.records.spec.name == "first"
        there = RunFolder(done).records().cube("steps", "loss")
        assert_array_equal(result.records.cube("steps", "loss"), there)
    # One that is not finished belongs to the study that began it.
    (done / "finished.json").unlink()
    assert not read_results(load_study(other), RunFolders(out))


def test_what_has_two_names_is_trained_once(tiny: RunSpec, tmp_path: Path, in_this_process: None) -> None:
    both = api.run_all([tiny, tiny.model_copy(update={"name": "again"})], out=tmp_path, device="cpu")
    assert [folder.path for folder in both] == [tmp_path / tiny.run_id] * 2
    assert [path.name for path in tmp_path.iterdir()] == [tiny.run_id]


def test_runs_whose_attention_was_not_measured_are_shown_and_reported(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    rewrite(study, "study = study_of([cell('a', 2, patterns=False)])")
    assert saltus("run", study, "--out", tmp_path / "runs", "--device", "cpu")[0] == 0
    (cell,) = load_study(study).cells
    folder = RunFolder.of(tmp_path / "runs", cell.run)
    assert not folder.records().measured_attention
    assert saltus("show", folder.path)[0] == 0
    code, _, error = saltus("report", folder.path, "--to", tmp_path / "report.html")
    assert (code, error) == (0, "")
    assert "attention was not measured" in (tmp_path / "report.html").read_text().lower()


def test_drawing_twice_gives_the_same_bytes(study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None) -> None:
    saltus("run", study, "--scale", "laptop", "--out", tmp_path / "records", "--device", "cpu")
    pages: list[list[bytes]] = []
    for _ in range(2):
        saltus("figures", study, "--out", tmp_path / "records")
        pages.append(
            [(tmp_path / name).read_bytes() for name in ("README.md", "little.md", "little.png", "little.csv")]
        )
    assert pages[0] == pages[1]
    # Laptop size alone never says "reproduced".
    assert "| **in part** | because. At laptop size alone" in pages[0][1].decode()
    assert f"`saltus run {study.as_posix()} --scale laptop`" in pages[0][1].decode()


@pytest.mark.parametrize(("command", "default"), [("figures", "results/records"), ("keep", "runs")])
def test_only_the_folder_that_nobody_named_may_be_missing(
    study: Path, tmp_path: Path, saltus: Saltus, monkeypatch: pytest.MonkeyPatch, command: str, default: str
) -> None:
    """A slip of the pen would draw pages without results in place of those that were there."""
    monkeypatch.chdir(tmp_path)
    wrong, named = (command, study, "--out", "results/recrods"), (command, study, "--out", default)
    assert saltus(command, study)[0] == 0  # before anything was run
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for _ in range(2):
        code, _, error = saltus(*wrong)
        assert code == 2
        assert "out: results/recrods was given, and is no folder; give the folder" in " ".join(error.split())
        assert {path: path.read_bytes() for path in before} == before
        Path("results").mkdir(exist_ok=True)
        Path("results/recrods").write_text("a file")
    Path(default).parent.mkdir(exist_ok=True)
    Path(default).write_text("a file")
    assert saltus(*named)[0] == 2


def test_a_page_does_not_lose_its_other_studies(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    other = study.with_name("other.py")
    other.write_text(study.read_text())
    kept, page = tmp_path / "records", tmp_path / "README.md"
    kept.mkdir()
    assert saltus("figures", study, other, "--out", kept)[0] == 0
    whole = page.read_text()
    code, _, error = saltus("figures", other, "--out", kept)
    assert code == 2
    assert "shows little too" in " ".join(error.split())
    assert page.read_text() == whole
    assert saltus("figures", other, "--out", kept, "--to", tmp_path / "alone")[0] == 0
    assert saltus("figures", other, study, "--out", kept)[0] == 0


def test_a_page_that_was_not_generated_is_not_replaced(study: Path, tmp_path: Path) -> None:
    results = [(load_study(study), Results([]))]
    page = tmp_path / "mine" / "README.md"
    page.parent.mkdir()
    for theirs in (page, page.with_name("little.md")):
        theirs.write_text("# Mine\n")
        with pytest.raises(SaltusError, match=f"{theirs} was not generated by saltus, and would be lost; give another"):
            write_results(results, page.parent)
        assert theirs.read_text() == "# Mine\n"
        assert [path.name for path in page.parent.iterdir()] == [theirs.name]
        theirs.unlink()
    for _ in range(2):
        write_results(results, page.parent)
        assert page.read_text().startswith("<!-- Generated by `saltus figures`, which replaces this file. -->\n")


def test_a_page_of_another_command_has_its_row_on_the_first_page(study: Path, tmp_path: Path) -> None:
    claims = [Claim("once", "in part", ""), Claim("twice", "in part", ""), Claim("never", "not reproduced", "")]
    (tmp_path / "models.md").write_text(f"# Mine\n\n{describe_row('Seeds | differ.', claims, [3, 10])}\n")
    (tmp_path / "speed.md").write_text("# Not a claim of the paper\n")
    (tmp_path / "models.png").touch()
    first = write_results([(load_study(study), Results([]))], tmp_path).read_text()
    row = '| [<img src="models.png" width="160" alt="models">](models.md) | Seeds \\| differ. | '
    assert first.count(f"{row}**2 in part, 1 not reproduced** | 3 to 10 | [models](models.md) |\n") == 1
    assert (
        first.count("\n| ") - first.split("## What a full study costs")[1].count("\n| ") == 3
    )  # with the table's head
    assert "Also here: [models](models.md), [speed](speed.md)." in first


def test_every_page_is_linked_from_the_first_whatever_it_says(tmp_path: Path) -> None:
    cell = Cell(run=make_spec())
    plain, waiting = (Study(cells=[cell], name=name) for name in ("plain", "waiting"))

    def judge(results: Results) -> Sequence[Claim]:
        return [Claim("a", "reproduced", f"of {len(results)}")]

    judged = Study(cells=[cell], judge=judge, name="judged")
    there, none = Results([solve(cell, [300])], [cell]), Results([], [cell])
    first = write_results([(judged, there), (plain, there), (waiting, none)], tmp_path).read_text()
    assert "| [judged](judged.md) | a |" in first
    assert "Without a verdict: [plain](plain.md).\n" in first
    assert "Not run yet: [waiting](waiting.md).\n" in first


def test_status_says_what_is_done_and_what_is_left(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    assert "0 of 3 runs are finished; no estimate" in saltus("status", study, "--out", tmp_path)[1]
    saltus("run", study, "--only", "a", "--out", tmp_path, "--device", "cpu")
    said = saltus("status", study, "--out", tmp_path, "--device", "cpu")[1]
    assert "1 of 3 runs are finished; about 1 min left on cpu" in said
    saltus("run", study, "--out", tmp_path, "--device", "cpu")
    assert "all 3 runs are finished" in saltus("status", study, "--out", tmp_path)[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--scale", "huge"), "scale: 'huge' was given; the study little has full, laptop"),
        (("--only", "z"), "only: 'z' is in no run's name; the names are a, b, c"),
        (("--only", "a", "--only", "z"), "only: 'z' is in no run's name; the names are a, b, c"),
    ],
)
def test_what_a_study_does_not_have_is_said(
    study: Path, saltus: Saltus, options: tuple[str, str], sentence: str
) -> None:
    code, _, error = saltus("run", study, *options)
    assert (code, error) == (2, f"error: {sentence}\n")


def test_a_censored_seed_has_no_mean_and_no_difference() -> None:
    row = Comparison("cell", 400.0, [380.0, None], "laptop", digits=0)
    assert (row.middle, row.difference) == (None, None)
    assert write_comparisons([row]).splitlines()[-1] == "| cell | 400 |  |  | 380, censored |  | 2 | laptop |  |"
    known = Comparison("cell", 400.0, [380.0, 390.0], "full", digits=0, tolerance=8.0, fitted=True, note="late")
    assert (
        write_comparisons([known]).splitlines()[-1]
        == "| cell | 400 | ±8 | 385 | 380, 390 | -15 | 2 | full | fitted; late |"
    )


def test_emergence_by_cell_counts_the_censored_and_gives_exact_shares() -> None:
    """Twelve units of three seeds, of which one seed has its four by 300: two of a hold of 2 end at 900."""
    line = write_emergence(Results([make_result([300, None, None])])).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["cell", "1,000", "4, 0, 0 of 4"]
    assert cells[3:] == [
        "4, 0, 0",
        "> 900",
        "1 of 3, 0.01 to 0.91",
        "> 900",
    ]  # (1 - 0.975)^(1/3) is not 0.01: binomial, k = 1


def test_the_csv_has_a_row_for_each_seed_with_the_keys_of_its_cell() -> None:
    cells = [Cell(size=4, biased=True, run=make_spec(2, name="one")), Cell(arm="a,b", run=make_spec(1, name="two"))]
    results = [solve(cells[0], [300, None], loss=0.1), solve(cells[1], [0], loss=1 / 3, scale="laptop")]
    first, second, third = read_csv(write_seeds(Results(results)))
    assert first == {
        "run": "one",
        "size": "4",
        "biased": "True",
        "arm": "",
        "scale": "full",
        "seed": "0",
        "steps_run": "1000",
        "final_train_loss": "0.1",
        "units_learned": "4",
        "units_there_at_end": "4",
        "units": "4",
        "last_step_without": "200",
        "first_step_with": "300",
        "lost_at": "",
        "diverged_at": "",
    }
    assert (second["seed"], second["units_learned"]) == ("1", "0")
    assert (second["last_step_without"], second["first_step_with"]) == ("900", "")  # could not be confirmed later
    assert (third["run"], third["arm"], third["size"], third["scale"]) == ("two", "a,b", "", "laptop")
    assert (third["last_step_without"], third["first_step_with"]) == ("-1", "0")
    assert float(third["final_train_loss"]) == 1 / 3


def test_a_seed_that_stopped_by_itself_has_its_own_last_step() -> None:
    whole = solve(Cell(size=4, run=make_spec(2, name="one")), [300, None])
    stopped = {
        name: table.filter((pc.field("seed") == 1) | (pc.field("step") <= 400))
        for name, table in whole.records.tables.items()
    }
    result = replace(whole, records=replace(whole.records, tables=stopped))
    assert [row["steps_run"] for row in read_csv(write_seeds(Results([result])))] == ["400", "1000"]


def test_a_file_is_no_folder_for_a_page(study: Path) -> None:
    with pytest.raises(SaltusError, match=r"little\.py cannot be made a folder \(File exists\); give another folder"):
        write_results([(load_study(study), Results([]))], study)


def test_a_claim_about_a_cell_of_laptop_size_holds_in_part_at_most(tmp_path: Path) -> None:
    """Whatever other cells were run at the paper's size."""
    cells = [Cell(cell=name, run=make_spec(1, name=name)) for name in ("easy", "hard")]
    results = Results([solve(cells[0], [300]), solve(cells[1], [300], scale="laptop")])
    study = Study(
        name="own",
        cells=cells,
        laptop=cells,
        judge=lambda results: [
            *(Claim(f"sooner, {r['cell']}", "reproduced", "because", str(r["cell"])) for r in results),
            Claim("sooner everywhere", "reproduced", "because"),
        ],
    )
    write_results([(study, results)], tmp_path)
    page = (tmp_path / "own.md").read_text()
    for text, verdict in (("easy", "reproduced"), ("hard", "in part"), ("everywhere", "reproduced")):
        assert re.search(rf"^\| sooner,? {text} \| \*\*{verdict}\*\* \|", page, re.MULTILINE)


def test_a_measure_of_one_name_and_other_columns_is_named_where_it_is_kept(tmp_path: Path) -> None:
    runs: list[RunRecords] = []
    for name, columns in (("a", ["largest"]), ("b", ["largest", "least"])):
        records = solve(Cell(run=make_spec(1, name=name, steps=1000 + len(columns))), [300]).records
        mine = pa.table({"seed": [0], "step": [0]} | {column: [1.0] for column in columns})
        runs.append(replace(records, tables={**records.tables, "mine": mine}))
    said = r"measure 'mine' has seed, step, largest, least in b-\w+, and seed, step, largest in other runs of own"
    with pytest.raises(SaltusError, match=said):
        Archive(tmp_path).add("own", runs)
    assert not list(tmp_path.iterdir())


def test_costs_count_a_shared_run_once_and_name_the_largest(study: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(study.read_text().replace('"a"', '"first"'))
    rewrite(other, "study = study_of([*study.cells, Cell(n=1, run=make('long', 1, steps=1_200))])")
    studies = [load_study(study), load_study(other)]
    lines = [line for line in write_costs([(s, Results([])) for s in studies]).splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    counts = {row[0]: (row[1], row[2], row[6]) for row in table[2:]}
    steps = studies[0].cells[0].run.training.steps
    assert counts == {
        "little": ("3", "6", "a: 33%"),
        "other": ("4", "7", f"long: {1_200 / (1_200 + 6 * steps):.0%}"),
        "**those with the authors' numbers**": ("4", "7", f"long: {1_200 / (1_200 + 6 * steps):.0%}"),
        "**all of these**": ("4", "7", f"long: {1_200 / (1_200 + 6 * steps):.0%}"),
    }
    assert [row[-2] for row in table[2:]] == ["3: 100%", "4: 100%", "4: 100%", "4: 100%"]


def test_costs_count_what_follows_from_results(study: Path) -> None:
    read = load_study(study)
    more = Cell(n=9, run=read.cells[0].run.model_copy(update={"name": "following", "seeds": 7}))
    small = Cell(n=9, run=more.run.model_copy(update={"name": "small"}))
    found = Results([solve(small, [None] * 7, scale="laptop")], [*read.cells, more, small])
    (line,) = [each for each in write_costs([(read, found)]).splitlines() if each.startswith("| little")]
    cells = [each.strip() for each in line.split("|")]
    seeds = sum(cell.run.seeds for cell in read.cells) + 7
    assert cells[2:4] == [str(len(read.cells) + 1), str(seeds)]
    assert cells[8].startswith(f"{len(read.cells) + 1}: 100%")


def test_costs_say_what_has_no_result_at_full_size(study: Path) -> None:
    read = load_study(study)
    one, two, three = read.cells

    def tell(*found: Result) -> str:
        return next(line for line in write_costs([(read, Results(found))]).splitlines() if line.startswith("| little"))

    assert tell(invent(one), invent(two, scale="laptop")).endswith("| 2: 67% |  |")  # no speed is known
    assert tell(invent(one), invent(two), invent(three, scale="short")).endswith("|  |  |")


def test_hours_are_at_the_speed_of_the_runs_whose_steps_are_nearest_in_size(study: Path) -> None:
    read = load_study(study)
    small, other = read.cells[:2]
    wide = other.run.model_copy(update={"model": other.run.model.model_copy(update={"d_model": 64})})
    large = replace(other, run=wide)
    seconds = {small.name: 3_600.0, large.name: 72_000.0}

    def time(cell: Cell) -> Result:
        spent = {"device": "cpu", "last_step": cell.run.training.steps, "seconds": seconds[cell.name]}
        found = invent(cell)
        return replace(found, records=replace(found.records, summary={**(found.records.summary or {}), **spent}))

    of_both = replace(read, cells=[small, large], laptop=())
    line = write_costs([(of_both, Results([time(small), time(large)]))]).splitlines()[-1]
    assert line.split("|")[5].strip() == "21.0"


def test_bars_in_a_claim_do_not_break_the_table() -> None:
    assert write_claims([Claim("a | b", "in part", "c")]).splitlines()[-1] == "| a \\| b | **in part** | c |"


def test_targets_are_found_by_name_and_carry_their_source() -> None:
    assert "authors" in read_targets("linear_map_jumps")["source"]
    with pytest.raises(SaltusError, match=r"'nothing' was given; there are cellular_automata_plateau, heads_width"):
        read_targets("nothing")


def test_the_numbers_of_the_authors_are_read_by_what_they_say() -> None:
    assert read_plateaus(biased=False)[8] == 377
    assert 512 not in read_plateaus(biased=False)  # censored in theirs
    assert list(read_plateaus(biased=True)) == [4, 8, 16, 32, 64]
    assert (read_passings()[0], read_passings()[15], len(read_passings())) == (530, 4540, 16)
    assert read_fall() == (300, 500)
    assert read_rows(16, 8) == 1.0
    assert read_rows(8, 3) is None


@pytest.mark.parametrize("path", sorted(Path("studies").glob("*.py")), ids=lambda path: path.stem)
def test_every_study_loads_and_nothing_of_it_has_been_run(path: Path, tmp_path: Path) -> None:
    study = load_study(path)
    results = read_results(study, RunFolders(tmp_path))
    assert not results
    assert [cell.name for cell in results.planned] == [cell.name for cell in study.cells]
    assert all(cell.key for cell in study.cells)
