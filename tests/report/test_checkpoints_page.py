"""The page of scans and patch studies as a file: complete, self-contained, and safe with hostile text."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from saltus.lm.records import PATCH_TABLES, PatchRecords, ScanRecords

from saltus.errors import SaltusError
from saltus.report.checkpoints import write_checkpoint_report
from saltus.report.html.labels import shorten, shorten_prompt, show_token
from saltus.report.scan.summary import list_unit_numbers, summarise_scan

Scan = Callable[..., ScanRecords]
Patch = Callable[..., PatchRecords]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
STEPS = (0, 1, 10, 100, 1000, 2000, 4000)
TWO_SIZES = {("14m", "0"): [None] * 4, ("14m", "1"): [1000, 1000, 1000, None], ("70m", "0"): [10] * 4}
"""Of the set (3 of 4 prompts): 14m never and in (100, 1000], 70m in (1, 10]."""


class Page(HTMLParser):
    """What a browser would make of the file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._text: list[str] = []
        self._inside = ""
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self._text.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self._text))

    @property
    def sections(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[1])["sections"]


def render(path: Path, *records: ScanRecords | PatchRecords, audit: pa.Table | None = None) -> Page:
    scans = [item for item in records if isinstance(item, ScanRecords)]
    patches = [item for item in records if isinstance(item, PatchRecords)]
    write_checkpoint_report(scans, patches, audit, path / "report.html")
    return Page(path / "report.html")


def test_every_number_of_a_run_is_in_the_table(scan: Scan, tmp_path: Path) -> None:
    records = scan(TWO_SIZES, steps=STEPS, missing=[("14m", "1", 4000, "damaged")])
    numbers = list_unit_numbers(records, summarise_scan(records))
    assert len(numbers) == 3 * 5
    the_set = next(row for row in numbers if (row.found.seed, row.found.unit.prompt) == ("1", None))
    assert (the_set.first, the_set.last, the_set.measured) == (pytest.approx(0.1), pytest.approx(0.7), 6)
    page = render(tmp_path, records)
    assert "14m 1 copying the set 100 1000 0.1000 0.7000 6" in page.text
    assert "14m 0 copying the set 4000 > 4000 0.1000 0.1000 7" in page.text
    assert "14m 1 copying 3 2000 > 2000 4000 0.1000 0.1000 6" in page.text
    assert "1 capability · 2 sizes, 3 runs · 20 of 21 listed checkpoints measured, 1 missing" in page.text
    assert "14m 1 4000 damaged 1 prompt of copying" in page.text


def test_a_page_of_everything(scan: Scan, patch: Patch, findings: pa.Table, tmp_path: Path) -> None:
    scanned = scan(TWO_SIZES, steps=STEPS, capabilities=["copying", "ioi"], foils=["ioi"])
    page = render(tmp_path, scanned, patch([[0.3, 0.0], [0.0, 0.2]]), audit=findings)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    plots = [attributes for _, attributes in page.elements if attributes.get("class") == "plot"]
    assert len(plots) == 5 + 3 + 8
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in plots)
    for attributes in plots:
        figures = page.sections[int(attributes["data-section"] or "")]["figures"]
        assert attributes["data-figure"] in figures
    figures = page.sections[0]["figures"]
    assert set(figures["sizes"]["views"]) == {"0", "1"}
    assert set(figures["trajectories"]["views"]) == {"0,0", "0,1", "1,0", "1,1"}
    assert set(figures["margins"]["views"]) == {"1,0", "1,1"}  # copying has no foil
    assert "The audit found 1 fault and 1 note." in page.text
    assert "410m 1 96000 fault identical step 143,000 the weights are those of another step" in page.text
    assert page.text.index("those of another step") < page.text.index("was another model once")
    assert "greedy 0.0 1.1 0 2 0.610" in page.text
    assert "0 0 0.300 0.284 0.316 0.240 0.000 0.015 -0.300 -0.300" in page.text


def test_nothing_is_loaded_from_anywhere(scan: Scan, patch: Patch, tmp_path: Path) -> None:
    page = render(tmp_path, scan(TWO_SIZES, steps=STEPS), patch([[0.3]]))
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "data", "poster"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
        assert tag not in {"link", "iframe", "object", "embed", "base"}
    policies = [attributes for tag, attributes in page.elements if tag == "meta" and "http-equiv" in attributes]
    assert "default-src 'none'" in (policies[0]["content"] or "")
    assert not re.search(r"https?:|\bfetch\b|XMLHttpRequest|\bimport\b|WebSocket", page.scripts[1] + page.scripts[2])


def test_hostile_text_stays_text(scan: Scan, patch: Patch, findings: pa.Table, tmp_path: Path) -> None:
    def build(text: str) -> Page:
        scanned = scan(
            {(text, text): [10] * 4, (text, "b"): [None] * 4},
            steps=STEPS,
            capabilities=[text],
            foils=[text],
            texts=[(text, text)] * 4,
            missing=[(text, text, 1000, text)],
            suite=text,
        )
        column = findings.schema.get_field_index("detail")
        audit = findings.set_column(column, "detail", pa.array([text, text]))
        patched = patch(
            [[0.3, 0.2]], tokens=[text] * 3, texts=[text], size=text, seed=text, suite=text, donor_seed=text
        )
        return render(tmp_path, scanned, patched, audit=audit)

    expected, page = build("harmless"), build(HOSTILE)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in expected.elements]
    assert len(page.scripts) == 3
    assert "<" not in page.scripts[1]
    assert HOSTILE in page.text
    for section in page.sections:
        for figure in section["figures"].values():
            for view in figure["views"].values():
                assert "<script" not in json.dumps(view["figure"])
    assert page.sections[1]["maps"]["prompts"][0]["tokens"][0] == shorten(HOSTILE, 12)


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
    assert len([tag for tag, _ in page.elements if tag == "select"]) == (len(emerges) > 1)  # of sizes alone


def test_patches_with_little_in_them(patch: Patch, tmp_path: Path) -> None:
    bare = patch([[0.3]], greedy=[0.9], prompts=1, trajectory=())
    kept = bare.effects.filter(pc.field("kind") != "mean")
    empty = PATCH_TABLES["patterns"].empty_table()
    page = render(tmp_path, replace(bare, effects=kept, patterns=empty))
    assert "The pattern of the best head brings back 90%" in page.text
    assert "1 random head brings back" in page.text
    assert "ranks cannot be compared" in page.text
    assert page.sections[0]["maps"] is None
    assert "map-mean" not in page.sections[0]["figures"]
    assert "What these heads attend to" not in page.text


def test_a_donor_without_gain_has_no_shares(patch: Patch, tmp_path: Path) -> None:
    page = render(tmp_path, patch([[0.0, 0.0]], gain=-0.05, greedy=[]))
    assert "shares" not in page.sections[0]["figures"]
    assert "How much do a few heads bring" not in page.text
    assert "\N{EN DASH} \N{EN DASH} \N{EN DASH}" in page.text  # the share of the gain in the table


def test_effects_that_could_not_be_measured(patch: Patch, tmp_path: Path) -> None:
    records = patch([[0.3, 0.0]])
    kinds = np.array(records.effects["kind"].to_pylist())
    values = np.where(kinds == "resample", np.nan, records.effects["probability"].to_numpy())
    column = records.effects.schema.get_field_index("probability")
    page = render(
        tmp_path, replace(records, effects=records.effects.set_column(column, "probability", pa.array(values)))
    )
    assert "map-resample" not in page.sections[0]["figures"]
    assert "0 0 0.300 0.284 0.316 0.240 0.000 0.015 -0.300 -0.300 -0.300 \N{EN DASH} -0.300" in page.text


def test_a_long_table_leaves_prompts_out_and_says_so(scan: Scan, tmp_path: Path) -> None:
    emerges = {("14m", str(seed)): [10] * 1100 for seed in range(10)}
    page = render(tmp_path, scan(emerges, steps=(0, 10), prompts=1100))
    assert "Single prompts (11,000 rows) are left out here; they are in scan-0123456789/probes.parquet." in page.text
    assert page.text.count("copying the set") == 10


def test_a_report_needs_something(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match="at least one scan or patch study"):
        write_checkpoint_report([], [], None, tmp_path / "report.html")


def test_a_report_appears_whole_or_not_at_all(patch: Patch, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(SaltusError, match="taken cannot be written"):
        write_checkpoint_report([], [patch([[0.3]])], None, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_labels_show_what_cannot_be_seen() -> None:
    assert show_token(" Mary") == "␣Mary"
    assert show_token("  ") == "␣␣"
    assert show_token("\n") == "⏎"
    assert shorten("a\u202eb\x00c") == "a·b·c"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten_prompt("abcdef", 4) == "…def"
