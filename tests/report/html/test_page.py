"""The page as a file: complete, self-contained, and safe with hostile text."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.monitor.test_monitor import Known, watch_known
from tests.report.page import HOSTILE, Page, render

from saltus.curves import Curves
from saltus.errors import SaltusError
from saltus.lm.audit.folder import AuditRecords
from saltus.lm.patching.records import PatchRecords
from saltus.lm.pocket.folder import PocketRecords
from saltus.lm.scanning.records import ScanRecords
from saltus.lm.suites.base import Run
from saltus.report.html.blocks import Beyond, Column, Row, Section, Table, Text, show_cell
from saltus.report.html.labels import plural, shorten, shorten_prompt, show_token
from saltus.report.html.page import write_report
from saltus.report.html.settings import fold_settings
from saltus.report.sections import SECTIONS, describe
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec
from saltus.train.records import RunRecords

Build = Callable[..., RunRecords]
Scan = Callable[..., ScanRecords]
Patch = Callable[..., PatchRecords]
STEPS = (0, 1, 10, 100, 1000, 2000, 4000)


def test_a_page_of_every_kind(
    three_seeds: RunRecords, scan: Scan, patch: Patch, audit: AuditRecords, accuracies: Curves, tmp_path: Path
) -> None:
    scanned = scan({("14m", "0"): [10] * 4}, steps=STEPS)
    watched = watch_known(tmp_path / "watched")
    watched.step(0, Known())
    watched.close()
    pocket = PocketRecords(
        tmp_path / "pocket",
        PocketSpec(
            name="tiny",
            models=(PocketModelSpec(name="w8", layers=2, d_model=8, heads=2),),
            seeds=2,
            corpus=PeriodicCorpusSpec(),
            batch=4,
            steps=6,
            every=3,
        ),
        {Run("14m", "0"): None},
    )
    everything = [accuracies, patch([[0.3]]), audit, scanned, three_seeds, watched.folder.records(), pocket]
    assert {type(records) for records in everything} == SECTIONS.keys()
    page = render(tmp_path, *everything)
    names = [attributes for attributes in page.find("section") if attributes["id"]]
    assert [attributes["id"] for attributes in names] == [f"section-{number}" for number in range(7)]
    assert [attributes["href"] for attributes in page.find("a")] == [f"#section-{number}" for number in range(7)]
    assert (
        "When did it learn its task? When did it emerge? Are the checkpoints what they say they are? Which heads "
        "brought it?" in page.text
    )
    figures = [set(section["figures"]) for section in page.sections]
    assert ["overlap" in keys for keys in figures] == [True, *[False] * 6]
    assert ["sizes" in keys for keys in figures] == [False, True, *[False] * 5]


def test_a_page_about_one_thing_has_no_contents(accuracies: Curves, tmp_path: Path) -> None:
    assert render(tmp_path, accuracies).find("a") == []


def test_an_audit_lists_its_faults_first(audit: AuditRecords, tmp_path: Path) -> None:
    page = render(tmp_path, audit)
    assert "The audit found 1 fault and 1 note." in page.text
    assert "410m 1 96000 fault identical step 143,000 the weights are those of another step 0.000" in page.text
    assert page.text.index("those of another step") < page.text.index("was another model once")
    clean = render(tmp_path, replace(audit, findings=audit.findings.slice(0, 0)))
    assert "The audit found nothing wrong" in clean.text
    assert clean.find("table") == []


def test_hostile_text_stays_text(
    scan: Scan, patch: Patch, build: Build, audit: AuditRecords, accuracies: Curves, tmp_path: Path
) -> None:
    def make(text: str) -> Page:
        scanned = scan(
            {(text, text): [10] * 4, (text, "b"): [None] * 4},
            steps=STEPS,
            capabilities=[text],
            foils=[text],
            texts=[(text, text)] * 4,
            missing=[(text, text, 1000, text)],
            suite=text,
        )
        column = audit.findings.schema.get_field_index("detail")
        findings = audit.findings.set_column(column, "detail", pa.array([text, text]))
        patched = patch(
            [[0.3, 0.2]], tokens=[text] * 3, texts=[text], size=text, seed=text, suite=text, donor_seed=text
        )
        run = build([[[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]], corners=[text], names=[text, "{{ 7 * 7 }}"])
        own = tuple(replace(curve, key=curve.key._replace(group=text, seed=text, unit=text)) for curve in accuracies)
        curves = replace(accuracies, curves=own[:1], measure=text, notes=(text,))
        return render(tmp_path, scanned, patched, replace(audit, findings=findings, suite=text), run, curves)

    expected, page = make("harmless"), make(HOSTILE)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in expected.elements]
    assert HOSTILE in page.text
    assert "{{ 7 * 7 }}" in page.text
    for section in page.sections:
        for figure in section["figures"].values():
            for view in figure["views"].values():
                assert "<script" not in json.dumps(view["figure"])
    run, _, _, patched, _ = page.sections
    assert run["maps"]["attention"]["views"][0]["rows"] == [HOSTILE, "{{ 7 * 7 }}"]
    assert patched["maps"]["attention"]["views"][0]["keys"][0] == shorten(HOSTILE, 12)


def test_a_report_needs_something(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match="at least one run, scan or patch"):
        write_report(describe([]), tmp_path / "report.html")


def test_a_report_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    section = Section("a name", "A question?", "An answer.", [Text("A note.")])
    (tmp_path / "report.html").write_text("old")
    write_report([section], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    (tmp_path / "taken").mkdir()
    with pytest.raises(SaltusError, match="taken cannot be written"):
        write_report([section], tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "taken"]


def test_a_cell_is_shown_for_readers_and_kept_for_files(tmp_path: Path) -> None:
    assert [show_cell(cell, 2) for cell in (None, 3, 0.256, -0.001, float("nan"), "a", Beyond(80))] == [
        ("", ""),
        ("3", "3"),
        ("0.26", "0.26"),
        ("0.00", "0.00"),
        ("\N{EN DASH}", ""),
        ("a", "a"),
        ("> 80", ""),
    ]
    table = Table("Numbers", [Column("a_name"), Column("b", "shown", digits=1)], [Row((1, 0.25)), Row((2, None), True)])
    write_report([Section("", "", "", [table])], tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert "a name shown 1 0.2 2" in page.text
    assert [attributes["data-csv"] for attributes in page.find("th")] == ["a_name", "b"]
    assert [attributes.get("class") for attributes in page.find("tr")] == [None, None, "strong"]


def test_settings_are_written_as_a_person_would() -> None:
    schedule = {"first": 1, "factor": 2.0, "every": 50}
    settings, code = fold_settings(
        {"model": {"source": "class A: ...", "d_mlp": 0.5, "on": True, "options": {"heads": 2}, "evaluate": schedule}}
    )
    assert settings.groups["model"] == {
        "d mlp": "0.5",
        "on": "yes",
        "options": "heads 2",
        "evaluate": "from 1 by a factor of 2 up to 50, then every that many",
    }
    assert (code.title, code.code) == ("The code of its model", "class A: ...")


def test_labels_show_what_cannot_be_seen() -> None:
    assert show_token(" Mary") == "␣Mary"
    assert show_token("  ") == "␣␣"
    assert show_token("\n") == "⏎"
    assert shorten("a\u202eb\x00c") == "a·b·c"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten_prompt("abcdef", 4) == "…def"


def test_nouns_have_a_plural() -> None:
    assert [plural(1, "seed"), plural(2, "seed"), plural(3000, "capability")] == [
        "1 seed",
        "2 seeds",
        "3,000 capabilities",
    ]
