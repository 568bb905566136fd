"""What a notebook shows, the frames that it takes, and the notebooks of `examples/`, executed."""

import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import saltus
from saltus import Curves, Rule, SaltusError
from saltus.curves import gather_curves
from saltus.lm.audit.folder import AuditFolder
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


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = "".join(output["data"].get("text/html", "") for output in outputs if "data" in output)
    assert find_image(shown.split("</div>")[0]).startswith(b"\x89PNG")
    assert not [output for output in outputs if output["output_type"] == "stream" and output["name"] == "stderr"]
    if name != "statistics.ipynb":  # training says how far it is, in lines
        assert re.search(r"step \d+/300, units learnt by seed", str(outputs))


def test_there_are_three_notebooks_without_outputs() -> None:
    assert len(NAMES) == 3
    for name in NAMES:
        cells = nbformat.read(EXAMPLES / name, as_version=4).cells
        assert not [cell for cell in cells if cell.get("outputs")]
