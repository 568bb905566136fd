"""`saltus read`, and what it makes on `ls`, `show`, `report`, `compare` and `plan`."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ingest.files import accuracy, write, write_old
from tests.report.page import HOSTILE

import saltus
from saltus import Key, Rule, SaltusError, api
from saltus.ingest.folder import CurvesFolder
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sizes by three seeds at six steps: the larger one learns sooner."""
    for size, middle in (("70m", 300), ("160m", 150)):
        for seed in range(3):
            for step in (0, 100, 200, 300, 400, 500, 600):
                value = 0.9 if step > middle + 90 * seed else 0.1
                model = f"EleutherAI/pythia-{size}-seed{seed}"
                write_old(tmp_path / "evals" / f"{model[11:]}_step{step}.json", model, step, {"piqa": accuracy(value)})
    monkeypatch.chdir(tmp_path)
    return tmp_path / "evals"


def test_what_is_read_is_shown_and_kept_under_its_name(saltus: Saltus, evals: Path) -> None:
    code, out, error = saltus("read", evals, "--above", "0.4", "--hold", "1")
    assert (code, error) == (0, "")
    assert "6 of 6 curves emerged: acc of at least 0.4" in out
    assert re.search(r"pythia-70m +│ 2 +│ piqa +│ \(400, 500\]", out)
    assert out.endswith("curves: runs/evals\n")
    code, out, _ = saltus("ls")
    assert (code, "curves" in out, "from " in out, "finished" in out) == (0, True, True, True)
    code, out, _ = saltus("show", "evals", "--threshold", "0.95")
    assert (code, "0 of 6 curves emerged: acc of at least 0.95" in out) == (0, True)
    code, out, error = saltus("compare", "evals")
    assert (code, error) == (0, "")
    assert "pythia-160m" in out
    code, out, error = saltus("plan", "evals", "--see")
    assert (code, "group: none was given, and the pilot has 2: pythia-70m" in error) == (2, True)
    code, out, error = saltus("plan", "evals", "--see", "--group", "pythia-160m")
    assert (code, error) == (0, "")
    code, out, error = saltus("report", "evals")
    assert (code, error) == (0, "")
    page = Path("report.html").read_text()
    assert "6 of 6 curves emerged" in page
    assert "42 files have their group from the model that it names, seed from the model that it names" in page


def test_every_option_reaches_the_reading(saltus: Saltus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a-7.csv", "at,who,what,loss\n0,g,x,4.0\n5,g,x,1.0\n5,g,y,1.0\n")
    options = ["--step", "at", "--group", "who", "--unit", "what", "--value", "loss", "--only", "x", "--as", "mine"]
    rule = ["--above", "0.5", "--share", "--chance", "4", "--ceiling", "0", "--hold", "1"]
    code, _, error = saltus("read", "a-7.csv", "--pattern", "a-{seed}.csv", *options, *rule)
    assert (code, error) == (0, "")
    (curve,) = curves = CurvesFolder(tmp_path / "runs" / "mine").records().curves
    assert (curve.key, curve.chance, curve.ceiling) == (Key("g", "7", "x"), 4.0, 0.0)
    assert (curves.measure, curves.rule) == ("loss", Rule(above=0.5, share=True))
    code, _, error = saltus("read", "a-7.csv", "--step", "at", "--below", "2", "--errors", "0", "--out", "there")
    assert (code, error) == (0, "")
    assert CurvesFolder(tmp_path / "there" / "a-7").records().rule == Rule(below=2.0, hold=2)
    write(tmp_path / "pythia-v1.1" / "a.csv", "step,acc\n0,0.5\n")
    assert saltus("read", "pythia-v1.1")[1].endswith("curves: runs/pythia-v1.1\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "nowhere is no file and no folder"),
        (["evals", "--as", "../x"], "name: '../x' was given"),
        (["evals", "--above", "1", "--below", "1"], "give exactly one of the two"),
        (["evals", "--pattern", "*.json"], "pattern is '*.json'; it names"),
        (["evals", "--out", "."], "is there and holds no curves"),
    ],
)
def test_what_cannot_be_is_one_sentence(saltus: Saltus, evals: Path, options: list[str], message: str) -> None:
    code, out, error = saltus("read", *options)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error


def test_many_curves_are_a_line_for_each_unit(saltus: Saltus, evals: Path) -> None:
    tasks = {f"task {number}": accuracy(0.9) for number in range(61)}
    for step in (0, 100):
        write_old(evals / f"m_step{step}.json", "m", step, tasks)
    code, out, _ = saltus("read", evals)
    assert code == 0
    assert re.search(r"piqa +│ 6 of 6 +│ 200 to 500", out)
    assert re.search(r"task 7 +│ 1 of 1 +│ 0 ", out)


def test_hostile_names_run_nothing_on_a_page(saltus: Saltus, evals: Path) -> None:
    for step in (0, 1):
        write_old(evals / f"x_step{step}.json", HOSTILE, step, {HOSTILE: accuracy(0.9)})
    write(evals / f"{HOSTILE.replace('/', '')}.csv", "step,acc\nx,y\n")
    code, out, error = saltus("read", evals)
    assert (code, error) == (0, "")
    assert "\x1b" not in out
    assert saltus("report", "evals")[0] == 0
    assert HOSTILE not in Path("report.html").read_text()


PROGRESS = "step,task,progress\n0,row 1,0.5\n"


def test_own_folders_are_read_like_any_other(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        shutil.copytree(finished.path, tmp_path / "runs" / name)
    own = finished.records().curves
    alone = saltus.read(tmp_path / "runs" / "one")
    assert ([curve.key for curve in alone], alone.rule) == ([curve.key for curve in own], own.rule)
    folders = [tmp_path / "runs" / name for name in ("one", "two")]
    both = saltus.read(*folders, only=["row*"], rule=Rule(above=0.25), name="both", out=tmp_path / "runs")
    assert both.groups == ["one/tiny", "two/tiny"]
    assert (set(both.units), len(both)) == ({f"row {row}" for row in range(4)}, 16)
    assert len(api.compare(both, unit="row 1").pairs) == 1
    shutil.copytree(finished.path, tmp_path / "elsewhere" / "one")
    same = saltus.read(tmp_path / "runs" / "one", tmp_path / "elsewhere" / "one")
    assert same.groups == [f"{tmp_path}/runs/one/tiny", f"{tmp_path}/elsewhere/one/tiny"]
    monkeypatch.chdir(tmp_path / "runs" / "one")
    here = saltus.read(".", tmp_path / "runs" / "two", write(tmp_path / "more.csv", PROGRESS))
    assert here.groups == ["one/tiny", "two/tiny", "more"]
    with pytest.raises(
        SaltusError, match="only: column was given, and no unit has such a name; there are row 0, row 1"
    ):
        saltus.read(tmp_path / "runs" / "one", only=["column"])
    with pytest.raises(SaltusError, match="there is nothing to read; 3 folders are some of saltus and were left alone"):
        saltus.read(tmp_path / "runs")
    write(tmp_path / "log.csv", "step,task,acc\n0,a,0.5\n")
    with pytest.raises(SaltusError, match=r"of different measures \(acc, progress\); read them one by one"):
        saltus.read(tmp_path / "runs" / "one", tmp_path / "log.csv")
