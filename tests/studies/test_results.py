"""What is kept of a study, and the page that is made of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from saltus import api
from saltus.measure.outcomes import count_learned
from saltus.paper.targets import read_targets
from saltus.specs import RunSpec
from saltus.studies.comparison import Claim, Comparison, write_claims, write_comparisons, write_emergence
from saltus.studies.costs import write_costs
from saltus.studies.results import Results
from saltus.studies.study import load_study
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]

STUDY = '''"""A tiny study.

More of it.
"""
from matplotlib.figure import Figure
from saltus.measure.outcomes import final_loss
from saltus.studies.comparison import Claim, Comparison
from saltus.specs import RunSpec

TINY = {tiny!r}

def make(name, seeds, **training):
    return RunSpec(**(TINY | {{"name": name, "seeds": seeds, "training": TINY["training"] | training}}))

runs = [make("a", 2), make("b", 2, learning_rate=3e-3), make("c", 2, learning_rate=1e-4)]
laptop = [make("a", 1), make("b", 1, learning_rate=3e-3)]

def draw(results):
    figure = Figure()
    figure.subplots().plot([len(results)])
    return figure

def compare(results):
    return [Comparison(name, 0.5, list(final_loss(results[name])), results.scale(name)) for name in results]

def judge(results):
    return [Claim("a < b | c", "reproduced" if "a" in results else "not measured", "because")]
'''


@pytest.fixture
def study(tiny: RunSpec, tmp_path: Path) -> Path:
    path = tmp_path / "little.py"
    path.write_text(STUDY.format(tiny=tiny.model_dump()))
    return path


def test_only_the_runs_that_were_named_are_trained(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    only = ("--only", "c", "--only", "a", "--steps", "1")
    assert saltus("run", study, *only, "--out", tmp_path / "runs", "--device", "cpu")[0] == 0
    assert {path.name[0] for path in (tmp_path / "runs").glob("?-*")} == {"a", "c"}


def test_a_whole_name_is_that_run_alone(study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None) -> None:
    study.write_text(study.read_text() + "\nruns = [make(f's{n}', 1, warmup=n) for n in (1, 10, 2)]\nlaptop = runs\n")
    for only, trained in (("s1", {"s1"}), ("1", {"s1", "s10"})):
        assert saltus("run", study, "--only", only, "--steps", "1", "--out", tmp_path / only, "--device", "cpu")[0] == 0
        assert {path.name.partition("-")[0] for path in (tmp_path / only).glob("s*-*")} == trained


def test_a_cell_is_shown_at_the_largest_scale_that_was_run(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    out, kept = tmp_path / "runs", tmp_path / "docs" / "records"
    assert saltus("run", study, "--scale", "laptop", "--out", out, "--device", "cpu")[0] == 0
    assert saltus("run", study, "--only", "a", "--out", out, "--device", "cpu")[0] == 0
    assert saltus("keep", study, "--out", out, "--to", kept)[1] == f"{study}: 3 more runs in {kept}\n"
    assert saltus("keep", study, "--out", out, "--to", kept)[1] == f"{study}: 0 more runs in {kept}\n"
    results = Results(load_study(study), kept)
    assert {name: results.scale(name) for name in results} == {"a": "full", "b": "laptop"}
    assert saltus("figures", study, "--out", kept)[0] == 0
    page = (tmp_path / "docs" / "README.md").read_text()
    assert "## A tiny study." in page
    assert "| a | 0.500 |" in page
    assert "Cells: 1 full, 1 laptop, 1 of 3 not run." in page
    assert f"`saltus run {study.as_posix()} --scale laptop`" in page
    assert "| a < b \\| c | **reproduced** | because |" in page
    assert (tmp_path / "docs" / "little.png").read_bytes()[:4] == b"\x89PNG"


def test_what_is_kept_is_a_run_without_weights_that_reads_and_reports(
    finished: RunFolder, study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    saltus("run", study, "--only", "a", "--out", tmp_path / "runs", "--device", "cpu")
    (kept,) = api.keep_results(study, tmp_path / "runs", tmp_path / "records")
    records, whole = RunFolder(kept).records(), finished.records()
    assert not (kept / "checkpoints").exists()
    assert records.units.equals(whole.units)
    for column in whole.steps.column_names:
        assert_array_equal(records.steps[column].to_numpy(), whole.steps[column].to_numpy())
    assert (len(records.positions), len(records.heads)) == (0, len(whole.heads))  # its patterns were asked for


def test_a_cell_that_another_study_has_run_is_taken_from_there(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    out, kept = tmp_path / "runs", tmp_path / "docs" / "records"
    assert saltus("run", study, "--only", "a", "--out", out, "--device", "cpu")[0] == 0
    (done,) = out.glob("a-*")
    other = tmp_path / "other.py"
    other.write_text(study.read_text().replace('"a"', '"first"').replace('"b"', '"second"'))
    assert "1 of 3 runs are finished" in saltus("status", other, "--out", out)[1]
    code, said, _ = saltus("run", other, "--only", "first", "--out", out, "--device", "cpu")
    assert code == 0
    assert f"{done} is finished already" in said
    for path in (other, study):
        saltus("keep", path, "--out", out, "--to", kept)
    assert [folder.name for folder in kept.iterdir()] == [done.name]
    for place in (out, kept):
        results = Results(load_study(other), place)
        assert list(results) == ["first"]
        assert results["first"].spec.name == "first"
        loss, there = (records.cube("steps", "loss") for records in (results["first"], RunFolder(done).records()))
        assert_array_equal(loss, there)
    # One that is not finished belongs to the study that began it.
    (done / "finished.json").unlink()
    assert "first" not in Results(load_study(other), out)


def test_what_has_two_names_is_trained_once(tiny: RunSpec, tmp_path: Path, in_this_process: None) -> None:
    both = api.run_all([tiny, tiny.model_copy(update={"name": "again"})], out=tmp_path, device="cpu")
    assert [folder.path for folder in both] == [tmp_path / tiny.run_id] * 2
    assert [path.name for path in tmp_path.iterdir()] == [tiny.run_id]


def test_a_few_snapshots_are_not_kept(study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None) -> None:
    ends = "{'every': 1000, 'factor': 1000.0}"
    study.write_text(study.read_text() + f"\nruns = [make('a', 2, snapshot={ends})]\nlaptop = runs\n")
    saltus("run", study, "--out", tmp_path / "runs", "--device", "cpu")
    (kept,) = api.keep_results(study, tmp_path / "runs", tmp_path / "records")
    records = RunFolder(kept).records()
    assert len(RunFolder(tmp_path / "runs" / kept.name).records().patterns.steps) == 3
    assert (len(records.heads), len(records.patterns.steps)) == (0, 0)


def test_runs_whose_attention_was_not_measured_are_shown_and_reported(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    study.write_text(study.read_text() + "\nruns = [make('a', 2, patterns=False)]\nlaptop = runs\n")
    assert saltus("run", study, "--out", tmp_path / "runs", "--device", "cpu")[0] == 0
    (kept,) = api.keep_results(study, tmp_path / "runs", tmp_path / "records")
    for folder in (tmp_path / "runs" / kept.name, kept):
        assert len(RunFolder(folder).records().heads) == 0
        assert saltus("show", folder)[0] == 0
        code, _, error = saltus("report", folder, "--to", tmp_path / "report.html")
        assert (code, error) == (0, "")
        assert "attention was not measured" in (tmp_path / "report.html").read_text().lower()


def test_drawing_twice_gives_the_same_bytes(study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None) -> None:
    saltus("run", study, "--scale", "laptop", "--out", tmp_path / "records", "--device", "cpu")
    pages: list[tuple[bytes, bytes]] = []
    for _ in range(2):
        saltus("figures", study, "--out", tmp_path / "records")
        pages.append(((tmp_path / "README.md").read_bytes(), (tmp_path / "little.png").read_bytes()))
    assert pages[0] == pages[1]
    # Laptop size alone never says "reproduced".
    assert "| **in part** | because. At laptop size alone" in pages[0][0].decode()


def test_a_page_does_not_lose_its_other_studies(
    study: Path, tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    other = study.with_name("other.py")
    other.write_text(study.read_text())
    kept, page = tmp_path / "records", tmp_path / "README.md"
    assert saltus("figures", study, other, "--out", kept)[0] == 0
    whole = page.read_text()
    code, _, error = saltus("figures", other, "--out", kept)
    assert code == 2
    assert "shows little too" in " ".join(error.split())
    assert page.read_text() == whole
    assert saltus("figures", other, "--out", kept, "--to", tmp_path / "alone")[0] == 0
    assert saltus("figures", other, study, "--out", kept)[0] == 0


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


def test_a_laptop_cell_that_would_never_be_drawn_is_refused(study: Path, saltus: Saltus) -> None:
    study.write_text(study.read_text() + "\nlaptop = [make('d', 1)]\n")
    code, _, error = saltus("run", study)
    assert code == 2
    assert error.endswith("little.py: `laptop` has 'd'; its names are to be those of `runs`, such as 'a'\n")


def test_a_figure_that_is_no_function_is_refused(study: Path, saltus: Saltus) -> None:
    study.write_text(study.read_text() + "\ndraw = 3\n")
    code, _, error = saltus("run", study)
    assert code == 2
    assert "`draw` is 3; it is a function of the results" in error


def test_a_censored_seed_has_no_mean_and_no_difference() -> None:
    row = Comparison("cell", 400.0, [380.0, None], "laptop", digits=0)
    assert (row.middle, row.difference) == (None, None)
    assert write_comparisons([row]).splitlines()[-1] == "| cell | 400 |  | 380, censored |  | 2 | laptop |"
    known = Comparison("cell", 400.0, [380.0, 390.0], "full", digits=0)
    assert write_comparisons([known]).splitlines()[-1] == "| cell | 400 | 385 | 380, 390 | -15 | 2 | full |"


def test_emergence_by_cell_counts_the_censored_and_gives_exact_shares(finished: RunFolder) -> None:
    records = finished.records()
    line = write_emergence({"tiny": records}).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[0] == "tiny"
    assert cells[1:3] == ["40", ", ".join(map(str, count_learned(records))) + " of 4"]
    assert cells[3:] == ["> 40", "0 of 2, 0.00 to 0.84", "> 40"]  # 1 - 0.025^(1/2) = 0.84


def test_costs_count_a_shared_run_once_and_name_the_largest(study: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(study.read_text().replace('"a"', '"first"') + "\nruns += [make('long', 1, steps=1_200)]\n")
    pairs = [(each, Results(each, tmp_path)) for each in (load_study(study), load_study(other))]
    lines = [line for line in write_costs(pairs).splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    counts = {row[0]: (row[1], row[2], row[6]) for row in table[2:]}
    steps = load_study(study).runs()[0].training.steps
    assert counts == {
        "little": ("3", "6", "a: 33%"),
        "other": ("4", "7", f"long: {1_200 / (1_200 + 6 * steps):.0%}"),
        "**those with the authors' numbers**": ("4", "7", f"long: {1_200 / (1_200 + 6 * steps):.0%}"),
        "**all of these**": ("4", "7", f"long: {1_200 / (1_200 + 6 * steps):.0%}"),
    }


def test_bars_in_a_claim_do_not_break_the_table() -> None:
    assert write_claims([Claim("a | b", "in part", "c")]).splitlines()[-1] == "| a \\| b | **in part** | c |"


def test_targets_are_found_by_name_and_carry_their_source() -> None:
    assert "authors" in read_targets("linear_map_jumps")["source"]
    from saltus.errors import SaltusError

    with pytest.raises(SaltusError, match=r"'nothing' was given; there are cellular_automata_plateau, heads_width"):
        read_targets("nothing")


@pytest.mark.parametrize("path", sorted(Path("studies").glob("*.py")), ids=lambda path: path.stem)
def test_every_study_loads_and_judges_nothing_from_nothing(path: Path, tmp_path: Path) -> None:
    study = load_study(path)
    results = Results(study, tmp_path)
    assert not results
    assert set(study.scales["full"][0].model_dump()) == set(RunSpec.model_fields)
