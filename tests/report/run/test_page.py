"""The page as a file: complete, self-contained, and safe with hostile names."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saltus.errors import SaltusError
from saltus.report.run.page import write_report
from saltus.specs import CustomSpec, RunSpec
from saltus.train.records import Patterns, RunRecords

Build = Callable[..., RunRecords]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """What a browser would make of the file: elements, their attributes, and the text of each script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(html)
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
        else:
            self.text.append(data)

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.scripts[1])

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def render(path: Path, *runs: RunRecords) -> Page:
    write_report(runs, path / "report.html")
    return Page((path / "report.html").read_text())


def test_page_states_the_result_and_every_number(three_seeds: RunRecords, tmp_path: Path) -> None:
    page = render(tmp_path, three_seeds)
    text = re.sub(r"\s+", " ", " ".join(page.text))
    assert "1 of 3 seeds learned all 2 rows within 80 steps" in text
    assert "61 of 80" not in text
    assert "3 of 6 rows emerged" in text
    assert "0 row 0 10 20 0.0000 1.000" in text
    assert "2 row 1 80 > 80 0.6931 0.500" in text
    assert len(page.find("tr")) == 1 + 3 * (1 + 2)


def test_headings_are_in_order_and_figures_have_names(three_seeds: RunRecords, tmp_path: Path) -> None:
    page = render(tmp_path, three_seeds)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.find("html") == [{"lang": "en"}]
    plots = [attributes for attributes in page.find("div") if attributes.get("class") == "plot"]
    assert len(plots) == 6
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in plots)
    assert len(page.find("figure")) == len(page.find("figcaption")) == 7


def test_nothing_is_loaded_from_anywhere(three_seeds: RunRecords, tmp_path: Path) -> None:
    page = render(tmp_path, three_seeds)
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "data", "poster"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
        assert tag not in {"link", "iframe", "object", "embed", "base"}
    assert "default-src 'none'" in (page.find("meta")[1]["content"] or "")
    ours = page.scripts[1] + page.scripts[2]
    assert not re.search(r"https?:|\bfetch\b|XMLHttpRequest|\bimport\b|WebSocket", ours)
    assert "url(" not in "".join(page.text)


def test_hostile_names_stay_text(build: Build, tmp_path: Path) -> None:
    harmless = build(np.ones((2, 4, 2)), corners=["corner"], names=["a", "b"])
    hostile = build(np.ones((2, 4, 2)), corners=[HOSTILE], names=[HOSTILE, "{{ 7 * 7 }}"])
    expected = render(tmp_path, harmless)
    page = render(tmp_path, hostile)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in expected.elements]
    assert len(page.scripts) == 3
    assert any(HOSTILE in text for text in page.text)
    assert any("{{ 7 * 7 }}" in text for text in page.text)
    assert page.data["runs"][0]["patterns"]["rows"] == [HOSTILE, "{{ 7 * 7 }}"]
    assert "<" not in page.scripts[1]


@pytest.mark.parametrize("finished", [True, False])
def test_corners_and_unfinished_runs_are_warned_of(build: Build, tmp_path: Path, finished: bool) -> None:
    text = " ".join(render(tmp_path, build(np.zeros((1, 4, 2)), corners=["All rows agree."], finished=finished)).text)
    assert "All rows agree." in text
    assert ("This run is not finished" in text) is not finished


def test_a_run_where_nothing_emerged(build: Build, tmp_path: Path) -> None:
    page = render(tmp_path, build(np.zeros((3, 4, 2))))
    assert "None of 3 seeds learned all 2 rows" in " ".join(page.text)
    assert "there is no jump to look at" in page.data["runs"][0]["seeds"]["0"]["captions"]["jumps"]


def test_one_diverged_seed(build: Build, tmp_path: Path) -> None:
    page = render(tmp_path, build(np.full((1, 4, 2), np.nan)))
    assert "The one seed learned 0 of 2 rows" in " ".join(page.text)
    assert page.text.count("\N{EN DASH}") >= 4


def test_an_unknown_floor(build: Build, tmp_path: Path) -> None:
    page = render(tmp_path, build(np.zeros((2, 4, 2)), floor=np.nan))
    assert "the smallest reachable loss is not known" in " ".join(page.text)


def test_one_evaluation_and_no_snapshot(build: Build, tmp_path: Path) -> None:
    records = build(np.zeros((2, 1, 2)))
    page = render(tmp_path, replace(records, patterns=Patterns(np.arange(0), records.patterns.patterns[:0])))
    assert page.data["runs"][0]["patterns"] is None
    assert not page.find("canvas")


def test_an_automaton_fits(build: Build, tmp_path: Path) -> None:
    progress = np.linspace(0.0, 1.0, 3)[None, :, None] * np.ones((2, 1, 16))
    names = [f"cell {cell}" for cell in range(16)]
    records = build(progress, needed=3, states=16, layers=4, heads=8, names=names)
    page = render(tmp_path, records)
    assert len(page.scripts[1]) < 4_000_000
    assert "upper bound" in " ".join(page.text)
    assert page.data["runs"][0]["patterns"]["labels"] == [str(cell) for cell in range(16)]


def test_many_seeds_are_offered_from_best_to_worst(build: Build, tmp_path: Path) -> None:
    at = np.arange(41)[None, :, None]
    page = render(tmp_path, build((at >= np.arange(1, 41)[:, None, None]).repeat(2, axis=2).astype(float)))
    seeds = [int(seed) for seed in page.data["runs"][0]["seeds"]]
    assert (len(seeds), seeds[0], seeds[-1]) == (16, 0, 39)
    assert len(page.find("option")) == 16


def test_several_runs_are_compared(build: Build, three_seeds: RunRecords, tmp_path: Path) -> None:
    page = render(tmp_path, three_seeds, build(np.zeros((2, 5, 3)), name="other"))
    assert [attributes["href"] for attributes in page.find("a")] == ["#run-1", "#run-2"]
    assert [attributes["id"] for attributes in page.find("section") if "id" in attributes] == ["run-1", "run-2"]
    text = re.sub(r"\s+", " ", " ".join(page.text))
    assert "small 3 1 > 80 20 to 30 3 of 6 80" in text
    assert "other 2 0 > 40 \N{EN DASH} 0 of 6 40" in text


def test_a_report_appears_whole_or_not_at_all(three_seeds: RunRecords, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    write_report([three_seeds], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    (tmp_path / "taken").mkdir()
    with pytest.raises(SaltusError, match="taken cannot be written"):
        write_report([three_seeds], tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "taken"]


def test_a_report_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match="at least one run"):
        write_report([], tmp_path / "report.html")


def test_code_of_a_module_of_one_s_own_is_shown_and_not_run(three_seeds: RunRecords, tmp_path: Path) -> None:
    code = f"class Own:\n    text = {HOSTILE!r}\n    def __init__(self, d, q, heads=1): pass\n"
    model = CustomSpec(name="Own", source=code, options={"heads": 2, "label": HOSTILE}, d_model=8)
    spec = RunSpec.model_validate(three_seeds.spec.model_dump() | {"model": model})
    none = Patterns(np.arange(0), three_seeds.patterns.patterns[:0])
    page = render(tmp_path, replace(three_seeds, spec=spec, heads=three_seeds.heads.slice(0, 0), patterns=none))
    usual = render(tmp_path, three_seeds)
    assert len(page.scripts) == len(usual.scripts)
    assert page.find("img") == []
    text = "".join(page.text)
    assert code in text
    assert f"heads 2, label {HOSTILE}" in text
    assert "Own (custom), 1 layer" in text
    assert "The code of its mixer" not in "".join(usual.text)
