"""What a notebook shows, the frames that it takes, and the notebooks of `examples/`, executed."""

import re
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from rich.console import Console

import saltus
from saltus import Curves, Rule, SaltusError
from saltus.curves import gather_curves
from saltus.lm.audit.folder import AuditFolder
from saltus.lm.suites.base import Run
from saltus.report.terminal.audit import AuditView
from saltus.report.terminal.notebook import NotebookConsole, open_console
from saltus.train.folder import RunFolder

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))

STEPS = np.arange(0, 1000, 100)
HOSTILE = "<script>alert(1)</script>"


def make_curves(*groups: str) -> Curves:
    """Four seeds of each group, which emerge at steps 100, 200, 300 and, in the first group, never."""
    curves = []
    for number, group in enumerate(groups):
        middles = np.array([[100], [200], [300], [9999 if number == 0 else 400]])
        values = np.where(middles <= STEPS, 0.9, 0.1)
        curves += gather_curves(group, ["0", "1", "2", "3"], ["piqa"], STEPS, values[:, :, None])
    return Curves(tuple(curves), "accuracy", Rule(above=0.5))


def show(shown: Any) -> str:
    return shown._repr_html_()


def find_image(html: str) -> bytes:
    (image,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return b64decode(image)


def test_curves_show_the_table_and_a_figure() -> None:
    html = show(make_curves("small", "large"))
    assert "7 of 8 curves emerged: accuracy of at least 0.5" in html
    assert "(100, 200]" in html
    assert find_image(html).startswith(b"\x89PNG")
    assert find_image(html) != find_image(show(make_curves("large", "small")))  # it is drawn from the curves


def test_a_run_shows_what_the_command_shows(finished: RunFolder) -> None:
    html = show(finished)
    assert "None of 2 seeds learned all 4 rows within 40 steps" in html
    assert find_image(html).startswith(b"\x89PNG")


def test_a_comparison_shows_its_arms_and_its_sentence() -> None:
    found = make_curves("small", "large").emergences()
    html = show(saltus.compare(found.group("small"), found.group("large")))
    assert "ratio of medians" in html
    assert "With 4 against 4 seeds" in html
    assert find_image(html).startswith(b"\x89PNG")


def test_names_are_text(tmp_path: Path) -> None:
    curves = make_curves(HOSTILE, "$x$ _y")
    found = curves.emergences()
    for shown in (curves, found, saltus.compare(found.group(HOSTILE), found.group("$x$ _y"))):
        assert HOSTILE not in show(shown)
    folder = AuditFolder(tmp_path / HOSTILE)
    assert HOSTILE not in show(folder)
    assert "&lt;script&gt;" in show(folder)


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    html = show(RunFolder(tmp_path / "nothing"))
    assert re.fullmatch(r"<p>[^<]*has no checkpoint yet[^<]*</p>", html)
    with pytest.raises(SaltusError, match="which has no curves"):
        AuditFolder(tmp_path / "audit").to_arrow()


def test_a_frame_has_a_row_for_each_value_and_emergence(finished: RunFolder) -> None:
    curves = make_curves("small", "large")
    values = curves.to_arrow().to_pylist()
    assert len(values) == 8 * len(STEPS)
    assert [row["value"] for row in values[: len(STEPS)]] == list(curves[0].values)
    assert (values[-1]["group"], values[-1]["seed"], values[-1]["step"]) == ("large", "3", 900)
    emergences = curves.emergences().to_arrow().to_pylist()
    assert [(row["seed"], row["after"], row["by"]) for row in emergences[:4]] == [
        ("0", 0, 100),
        ("1", 100, 200),
        ("2", 200, 300),
        ("3", 900, None),
    ]
    assert finished.to_arrow().num_rows == sum(len(curve.steps) for curve in finished.records().curves)
    assert list(curves.emergences().to_pandas()["by"][:2]) == [100, 200]


class Cell:
    """What shows what is displayed, as IPython does: a handle to what is shown, which it can replace."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 1
        self.outputs: list[str] = []
        monkeypatch.setattr("IPython.display.display", self._display)
        monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: SimpleNamespace(execution_count=self.number))

    def _display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> SimpleNamespace:
        assert raw
        assert display_id
        self.outputs.append("")
        place = len(self.outputs) - 1

        def update(data: dict[str, str], *, raw: bool) -> None:
            assert raw
            assert set(data) == {"text/plain", "text/html"}
            self.outputs[place] = data["text/plain"]

        update(data, raw=True)
        return SimpleNamespace(update=update)


def test_what_is_at_work_is_shown_in_place_and_lines_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, console = Cell(monkeypatch), NotebookConsole()
    for name in ("first", "second"):
        with AuditView(name, 2, console) as view:
            view.examined(Run("tiny", "0"), 1, "not to be had")
            view.examined(Run("tiny", "0"), 2, None)
    console.print("the end")
    [shown] = cell.outputs
    lines = shown.splitlines()
    said = [line for line in lines if "━" not in line]
    assert said == ["tiny seed 0 step 1 is missing: not to be had"] * 2 + ["the end"]
    [bar] = [line for line in lines if "━" in line]  # the first one's is gone
    assert bar.startswith("audit of second: tiny seed 0 ━")
    assert "2/2" in bar
    assert lines[-1] == "the end"  # below the bar, which was there before
    cell.number = 2
    console.print("another cell")
    assert cell.outputs == [shown, "another cell\n"]


def test_outside_of_a_notebook_a_console_is_an_ordinary_one() -> None:
    assert type(open_console()) is Console


FORGET = "%reset_selective -f ^(?!_|In$|Out$|get_ipython$|exit$|quit$|open$)"
"""All that cells have defined; `%reset` would take from Python what it needs to start a process, too."""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """By the name of a notebook, the outputs of its cells. One kernel runs them all, and forgets each."""
    whole = nbformat.v4.new_notebook()
    cells: dict[str, list[Any]] = {}
    for name in NAMES:
        cells[name] = nbformat.read(EXAMPLES / name, as_version=4).cells
        whole.cells += [*cells[name], nbformat.v4.new_code_cell(FORGET)]
    folder = {"metadata": {"path": str(tmp_path_factory.mktemp("notebooks"))}}
    NotebookClient(whole, timeout=300, resources=folder).execute()
    return {name: [output for cell in own for output in cell.get("outputs", [])] for name, own in cells.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name: str, executed: dict[str, list[Any]]) -> None:
    outputs = executed[name]
    assert {output["output_type"] for output in outputs} <= {"display_data", "execute_result"}  # nothing was printed
    results = "".join(o["data"].get("text/html", "") for o in outputs if o["output_type"] == "execute_result")
    assert find_image(results.split("</div>")[0]).startswith(b"\x89PNG")
    shown = [output["data"] for output in outputs if output["output_type"] == "display_data"]
    if name == "statistics.ipynb":
        assert shown == []
        return
    [progress] = shown  # the last state of what is at work, and no more
    assert re.search(r"seed 0 .*\nseed 1 .*\n.* 300/300 steps", progress["text/plain"])
    assert "300/300" in progress["text/html"]


def test_there_are_three_notebooks_without_outputs() -> None:
    assert len(NAMES) == 3
    for name in NAMES:
        cells = nbformat.read(EXAMPLES / name, as_version=4).cells
        assert not [cell for cell in cells if cell.get("outputs")]
