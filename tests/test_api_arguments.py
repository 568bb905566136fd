"""What Python is given in the place of paths and folders: a path may be a text, and a name is no folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.ingest.files import accuracy, write_old

import saltus
from saltus import Curves, Key, Rule, SaltusError, api
from saltus.api.shelves import StudyShelf
from saltus.curves import gather_curves
from saltus.report.html.page import write_report
from saltus.report.sections import describe
from saltus.train.folder import RunFolder

ANY: Any = "tiny"
"""The name of a folder, where a folder is asked for."""


def test_a_path_may_be_a_text(finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for step in (0, 10):
        write_old(tmp_path / "evals" / f"m_step{step}.json", "m", step, {"piqa": accuracy(step / 10)})
    saltus.read("evals", name="mine", out="runs")
    assert api.find(Path("mine"), "runs").path == api.find("mine", Path("runs")).path == Path("runs/mine")
    spec = f"RunSpec(**{finished.spec().model_dump()!r})"
    Path("one.py").write_text(f"from saltus import *\nstudy = Study(cells=[Cell(run={spec})])\n")
    assert api.load_study("one.py").cells == api.load_study(Path("one.py")).cells
    (glimpse,) = StudyShelf(api.WatchedStudy("one.py", str(finished.path.parent))).look()
    assert glimpse.state == "finished"
    with pytest.raises(SaltusError, match=r"one\.py is a file; give the folder"):
        api.watch(["one.py"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda: api.show(ANY),
        lambda: api.report([ANY]),
        lambda: api.compare(ANY, ANY),
        lambda: api.fit(ANY),
        lambda: api.split(ANY),
        lambda: api.pool(ANY),
        lambda: api.plan(ANY, see=True),
        lambda: api.export(ANY, "tables"),
    ],
)
def test_a_name_is_no_folder(ask: Callable[[], object]) -> None:
    with pytest.raises(SaltusError, match=r"^'tiny' was given, and is no folder of results; give what .*find returns"):
        ask()


def test_a_folder_counts_once_whatever_it_is_called(finished: RunFolder, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(finished.path, target_is_directory=True)
    for other in (finished, RunFolder(link)):
        with pytest.raises(SaltusError, match=r"report: .* was given twice; give each folder once"):
            api.report([finished, other], tmp_path / "report.html")
        with pytest.raises(SaltusError, match=r"compare: .* was given twice; give each folder once"):
            api.compare(finished, other)
    assert not (tmp_path / "report.html").exists()


CURVES = Curves(gather_curves("g", ["0"], ["u"], np.array([0, 10]), [[[0.1], [0.9]]]), "share", Rule(above=0.5))


@pytest.mark.parametrize("place", ["", ".", "/"])
def test_a_page_needs_the_name_of_a_file(place: str) -> None:
    sections = describe([CURVES])
    with pytest.raises(SaltusError, match=r"cannot be written \(it names no file\); choose another place"):
        write_report(sections, Path(place))


def test_a_name_that_is_no_whole_unicode_is_shown_by_its_code(tmp_path: Path) -> None:
    odd = Curves(tuple(replace(curve, key=Key("m\ud800", "0", "u")) for curve in CURVES), "share", CURVES.rule)
    write_report(describe([odd]), tmp_path / "report.html")
    assert "m\\ud800" in (tmp_path / "report.html").read_text(encoding="utf-8")
