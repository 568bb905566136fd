"""The commands over checkpoints as a person meets them, on a suite that is trained here in a moment."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from saltus import api
from saltus.lm.scanning.records import ScanRecords
from saltus.specs.capabilities import CopyingSpec, RepetitionSpec
from saltus.specs.checkpoints import ScanSpec
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec

Saltus = Callable[..., tuple[int, str, str]]

POCKET = PocketSpec(
    name="tiny",
    models=(PocketModelSpec(name="w8", layers=2, d_model=8, heads=2),),
    seeds=2,
    corpus=PeriodicCorpusSpec(),
    batch=4,
    steps=6,
    every=3,
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a trained suite: steps 0, 1, 2, 3 and 6 of two seeds."""
    out = tmp_path_factory.mktemp("pockets")
    return f"folder:{api.pocket(POCKET, out=out, console=Console(quiet=True), processes=1)}"


def test_a_patch_of_other_checkpoints_is_refused_finished_or_not(suite: str, saltus: Saltus, tmp_path: Path) -> None:
    """The same path, steps and options, and other weights since."""
    root = tmp_path / "tiny"
    shutil.copytree(suite.removeprefix("folder:"), root)
    across = ("patch", f"folder:{root}", "--size", "w8", "--recipient", "0", "--donor", "6", "--donor-seed", "1")
    asked = (*across, "--capability", "repetition", "--out", tmp_path / "results")
    assert saltus(*asked)[0] == 0
    (folder,) = api.ls(tmp_path / "results")
    assert (folder.path / "report.html").exists()
    weights = root / "w8" / "seed1" / "step6" / "model.safetensors"
    former = weights.read_bytes()
    weights.touch()  # another time alone is no change
    assert "is finished already" in saltus(*asked)[1]
    shutil.copy(root / "w8" / "seed0" / "step6" / weights.name, weights)
    for _ in ("finished", "begun"):
        code, _, error = saltus(*asked)
        assert (code, "the files of the donor are others than those that were patched" in error) == (2, True)
        shutil.rmtree(folder.path / "records", ignore_errors=True)  # as after a kill
        (folder.path / "finished.json").unlink(missing_ok=True)
    weights.write_bytes(former)
    code, _, error = saltus(*asked)
    assert (code, error) == (0, "")
    assert folder.finished


def test_audit_scan_patch_and_report(suite: str, saltus: Saltus, tmp_path: Path) -> None:
    at = ("--out", tmp_path / "results")
    code, out, _ = saltus("audit", suite, *at)
    assert (code, "0 faults in 10 checkpoints" in out) == (0, True)
    asked = ("scan", suite, "--capability", "repetition", "--strategy", "grid", *at)
    code, out, _ = saltus(*asked)
    assert (code, "10 of 10 checkpoints measured" in " ".join(out.split())) == (0, True)
    code, again, _ = saltus(*asked)
    assert (code, "is finished already" in again) == (0, True)
    assert again[again.index("┏") :].split("report:")[0] == out[out.index("┏") :].split("report:")[0]
    across = ("patch", suite, "--size", "w8", "--recipient", "0", "--donor", "6", "--donor-seed", "1")
    code, out, _ = saltus(*across, "--capability", "repetition", *at)
    assert (code, "change of the target's probability" in out) == (0, True)
    names = [folder.path.name for folder in api.ls(tmp_path / "results")]
    assert [name.split("-")[0] for name in names] == ["scan", "patch", "audit"]
    code, out, _ = saltus("report", *names, *at, "--to", tmp_path / "both.html")
    assert code == 0
    page = (tmp_path / "both.html").read_text()
    assert all(text in page for text in ("When did it emerge?", "Which heads brought it?"))


def test_an_audited_fault_is_left_out_of_a_scan(suite: str, saltus: Saltus, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(suite.removeprefix("folder:"), copy)
    shutil.copy(copy / "w8/seed1/step6/model.safetensors", copy / "w8/seed1/step2/model.safetensors")
    code, out, _ = saltus("audit", f"folder:{copy}", "--out", tmp_path / "results")
    assert (code, "0 faults" in out) == (0, False)
    asked = (
        "scan",
        f"folder:{copy}",
        "--capability",
        "repetition",
        "--strategy",
        "grid",
        "--out",
        tmp_path / "results",
    )
    assert saltus(*asked)[0] == 0
    missing = api.ls(tmp_path / "results")[0].records().missing.to_pylist()  # pyright: ignore[reportAttributeAccessIssue]
    assert ("1", 2) in {(row["seed"], row["step"]) for row in missing}
    assert all(row["seed"] == "1" and row["reason"].startswith("audit: ") for row in missing)


def test_a_threshold_makes_another_scan_and_the_default_does_not(suite: str, saltus: Saltus, tmp_path: Path) -> None:
    asked = ("scan", suite, "--capability", "repetition", "--size", "w8", "--seed", "0", "--out", tmp_path)
    for threshold in ((), ("--threshold", "0.75"), ("--threshold", "0.5")):
        assert saltus(*asked, *threshold)[0] == 0
    specs = [folder.spec() for folder in api.ls(tmp_path)]
    assert sorted(spec.threshold for spec in specs) == [0.5, 0.75]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("scan", "pythias", "--capability", "copying"),
            "there is no suite 'pythias'; allowed are pythia, polypythias",
        ),
        (("scan", "folder:/no/such/place", "--capability", "copying"), "there is no folder /no/such/place"),
        (("scan", "SUITE"), "no capability was given"),
        (("scan", "SUITE", "--capability", "magic"), "capability: there is no 'magic'; allowed are copying, "),
        (("scan", "SUITE", "--capability", "copying", "--size", "w9"), "size: 'w9' is not in the suite"),
        (("scan", "SUITE", "--capability", "copying", "--seed", "7"), "seed: '7' is not in the suite"),
        (("scan", "SUITE", "--capability", "indirect_object"), "indirect_object: the tokenizer lacks"),
        (("scan", "SUITE", "--capability", "copying", "--threshold", "1.5"), "ScanSpec.threshold: 1.5 was given"),
        (("scan", "SUITE", "--prompts", "EMPTY"), "is empty; give one JSON object a line"),
        (("scan", "SUITE", "--prompts", "MALFORMED"), "malformed.jsonl:2: this is no JSON"),
        (("scan", "SUITE", "--prompts", "LONG"), "needs 64 tokens and the model reads at most 32"),
        (
            ("patch", "SUITE", "--size", "w8", "--recipient", "0", "--donor", "5", "--capability", "copying"),
            "step: 5 is",
        ),
        (("patch", "SUITE", "--size", "w8", "--recipient", "0", "--donor", "6"), "no capability was given"),
        (
            ("scan", "SUITE", "--capability", "copying", "--step", "7:9"),
            "has no checkpoint at 7:9; its steps are from 0 to 6",
        ),
        (("scan", "SUITE", "--capability", "copying", "--step", "9:7"), "'9:7' ends before it begins"),
        (("scan", "SUITE", "--capability", "copying", "--step", "all"), "'all' is no step and no range of steps"),
        (("scan", "SUITE", "--capability", "copying", "--number", "many"), "number: 'many' was given; write a whole"),
        (("scan", "SUITE", "--capability", "copying", "--length", "1"), "CopyingSpec.digits: 1 was given"),
        (
            ("scan", "SUITE", "--capability", "indirect_object", "--length", "9"),
            "length: that of the prompts of indirect_object is fixed; name the capability that is meant",
        ),
        (("scan", "SUITE", "--capability", "copying", "--number", "list:9"), "number: 'list' is no capability of this"),
        (("scan", "SUITE", "--capability", "text:"), "capability: there is no 'text:'; allowed are copying, "),
        (("scan", "SUITE", "--capability", "text:/no/such/book"), "/no/such/book cannot be read"),
        (("audit", "SUITE", "--size", "w9"), "size: 'w9' is not in the suite"),
        (("pocket", "--corpus", "novels"), "corpus: 'novels' was given; allowed are 'periodic' and 'stdlib'"),
        (("pocket", "--steps", "0"), "PocketSpec.steps: 0 was given"),
        (("demo", "--lm", "--steps", "3"), "steps: 3 was given"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: tuple[str, ...], says: str, suite: str, saltus: Saltus, tmp_path: Path
) -> None:
    files = {"EMPTY": "", "MALFORMED": '{"prompt": "0 1", "target": " 2"}\nno\n', "LONG": ""}
    files["LONG"] = json.dumps({"prompt": " ".join(["3"] * 64), "target": " 2"})
    for name, text in files.items():
        (tmp_path / f"{name.lower()}.jsonl").write_text(text)
    places = {name: str(tmp_path / f"{name.lower()}.jsonl") for name in files} | {"SUITE": suite}
    results = tmp_path / "results"
    code, _, errors = saltus(*(places.get(argument, argument) for argument in arguments), "--out", results)
    assert (code, says in errors, "Traceback" in errors) == (2, True, False), errors
    assert len(errors.strip().splitlines()) == 1
    assert not [path for path in results.rglob("*") if path.suffix == ".partial"]


def test_tables_as_csv_and_a_part_of_a_scan(suite: str, saltus: Saltus, tmp_path: Path) -> None:
    at = ("--out", tmp_path / "results")
    asked = ("--capability", "repetition", "--capability", "copying", "--seed", "0")
    assert saltus("scan", suite, *asked, "--criterion", "rank=1000", "--pattern", "induction", *at)[0] == 0
    pair = ("--size", "w8", "--recipient", "0", "--donor", "6", "--exact", "1", "--kind", "self")
    assert saltus("patch", suite, "--capability", "copying", *pair, *at)[0] == 0
    (patched,) = (folder for folder in api.ls(tmp_path / "results") if folder.kind == "patch")
    code, out, error = saltus("show", patched.path, "--hold", "2")
    assert (code, out, "is a patch, which has no curves that threshold and hold are for" in error) == (2, "", True)
    for folder in api.ls(tmp_path / "results"):
        to = tmp_path / folder.kind
        code, out, _ = saltus("show", folder.path.name, *at, "--csv", to)
        assert (code, f"tables: {to}" in out) == (0, True)
        tables = {name: each for name, each in vars(folder.records()).items() if isinstance(each, pa.Table)}
        assert {path.stem for path in to.iterdir()} - {"emergences"} == tables.keys()
        for name, table in tables.items():
            with (to / f"{name}.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
            assert [*map(len, (rows, rows[0] if rows else table.column_names))] == [len(table), table.num_columns]
            numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
            for column in numbers:  # exactly the numbers of the records
                read = np.array([float(row[column] or "nan") for row in rows])
                assert np.array_equal(read, table[column].to_numpy(), equal_nan=True), (name, column)
    with (tmp_path / "scan" / "emergences.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["unit"]: row["first_step_with"] for row in rows if "prompt" not in row["unit"]} == {
        **{"repetition": "0", "copying": "0"}  # by this criterion everything is there from the start
    }
    with (tmp_path / "patch" / "sets.csv").open(newline="") as file:
        assert {row["heads"] for row in csv.DictReader(file) if row["kind"] == "all"} == {"0.0 0.1 1.0 1.1"}
    name = next(folder.path.name for folder in api.ls(tmp_path / "results") if folder.kind == "scan")
    code, out, _ = saltus("show", name, *at, "--capability", "copying", "--size", "w8")
    assert (code, "copying" in out, "repetition" in out) == (0, True, False)
    code, _, errors = saltus("show", name, *at, "--capability", "magic")
    assert (code, "capability: 'magic' is not in this scan; there are repetition, copying" in errors) == (2, True)
    code, _, errors = saltus("show", name.replace("scan", "patch")[:5], *at, "--size", "w8")
    assert (code, "capabilities and sizes are chosen in scans alone" in errors) == (2, True)


def test_steps_numbers_and_lengths_from_the_command_line(suite: str, saltus: Saltus, tmp_path: Path) -> None:
    at = ("--seed", "0", "--out", tmp_path)
    both = ("scan", suite, "--capability", "repetition", "--capability", "copying", *at)
    chosen = ("--step", "1:3", "--step", "6", "--number", "5", "--number", "copying:3", "--length", "4")
    code, out, _ = saltus(*both, *chosen, "--criterion", "copying:rank=3")
    assert (code, "4 of 4 checkpoints measured" in " ".join(out.split())) == (0, True), out
    (folder,) = api.ls(tmp_path)
    spec, records = folder.spec(), folder.records()
    assert isinstance(spec, ScanSpec)
    assert isinstance(records, ScanRecords)
    assert spec.capabilities == (RepetitionSpec(prompts=5, tokens=4), CopyingSpec(prompts=3, digits=4))
    assert sorted(set(records.probes["step"].to_pylist())) == [1, 2, 3, 6]
    assert records.end == 6
    assert saltus(*both, *chosen, "--criterion", "copying:rank=3")[1].count("is finished already") == 1
    texts = records.prompts["text"].to_pylist()
    assert [len(text.split()) for text in texts] == [7] * 8  # a string of 4, then 3 of it again


def test_a_text_from_the_command_line_with_its_beginning(suite: str, saltus: Saltus, tmp_path: Path) -> None:
    """The tokenizer of the suite knows words of one letter, and none for the beginning of a text."""
    (tmp_path / "book.txt").write_text(" ".join("0123456789" * 20))
    asked = ("scan", suite, "--capability", f"text:{tmp_path / 'book.txt'}", "--number", "2", "--length", "24")
    code, out, _ = saltus(*asked, "--step", "6", "--out", tmp_path)
    assert (code, "book.txt" in out, "the loss late in a passage" in " ".join(out.split())) == (0, True, True)
    code, _, errors = saltus(*asked, "--bos", "--out", tmp_path)
    assert (code, "bos: the tokenizer has no token for the beginning of a text" in errors) == (2, True)


def test_the_unit_of_a_patch_is_chosen_by_a_word(suite: str, saltus: Saltus, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    lines = [{"prompt": f"{n} 1 {n}", "target": " 1", "foil": " 2"} for n in range(3, 6)]
    pair = ("patch", suite, "--size", "w8", "--recipient", "0", "--donor", "6", "--out", tmp_path)
    for foils in (1, 0):
        path.write_text("\n".join(json.dumps(line if foils else {**line, "foil": []}) for line in lines))
        code, out, _ = saltus(*pair, "--prompts", path, "--kind", "self")
        assert (code, "foil's" in out, "have no foil of one" in " ".join(out.split())) == (0, bool(foils), not foils)
        name = max(api.ls(tmp_path), key=lambda folder: folder.path.stat().st_mtime).path.name
        code, _, errors = saltus("show", name, "--unit", "logit-difference", "--out", tmp_path)
        assert (code, "have no foil of one token; choose log" in errors) == ((0, False) if foils else (2, True))
