"""The Python of README.md and of docs/tour.md runs as it stands, on smaller runs; the part on logs elsewhere."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.lm.tiny_suite import make_model, make_word_tokenizer, save_checkpoint, teach
from tests.monitor.trainings import TOKENIZER, make_llama
from tests.studies.arms import make_spec, solve

from saltus.lm.capabilities.build import make_prompts
from saltus.monitor.folder import MonitorFolder
from saltus.specs.capabilities import RepetitionSpec
from saltus.studies.cells import Cell
from saltus.studies.results import Results
from saltus.studies.study import load_study
from saltus.train.folder import RunFolder

ROOT = Path(__file__).parents[1]


def list_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


RUN, STUDY, LOGS, WATCH, SCAN = list_blocks(ROOT / "README.md")


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


@pytest.mark.usefixtures("in_this_process")
def test_a_run_is_trained_shown_read_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(RUN.replace("steps=400", "steps=30"), "README.md", "exec"), names)
    assert names["folder"].path.parent == Path("runs")
    assert len(names["records"].curves.emergences()) == 2 * 9  # eight rows and the whole
    assert "None of 2 seeds learned all 8 rows within 30 steps" in capsys.readouterr().out
    assert "small-map" in Path("report.html").read_text(encoding="utf-8")


def test_the_study_has_a_cell_for_each_sparsity() -> None:
    path = Path("sparser.py")
    path.write_text(STUDY, encoding="utf-8")
    cells = load_study(path).cells
    assert [cell.run.task.model_dump()["sparsity"] for cell in cells] == [1, 2, 3]
    assert [cell.name for cell in cells] == ["sparsity-1", "sparsity-2", "sparsity-3"]


def test_the_part_on_logs_is_run_elsewhere() -> None:
    assert "saltus.read" in LOGS


def test_a_training_is_watched() -> None:
    model = make_llama()
    names: dict[str, Any] = {
        "tokenizer": TOKENIZER,
        "model": model,
        "batches": [torch.randint(0, 32, (2, 12)) for _ in range(3)],
        "optimiser": torch.optim.AdamW(model.parameters()),
    }
    exec(compile(WATCH, "README.md", "exec"), names)
    folder = MonitorFolder(Path("runs", "mine"))
    assert folder.finished
    assert folder.records().notes == ()
    assert [folder.rows()[place].step for place in (0, -1)] == [1, 3]
    assert folder.records().spec.patterns == ("induction",)


def test_the_jump_of_a_scan_is_patched_and_reported() -> None:
    tokenizer, able = make_word_tokenizer(), make_model(1)
    teach(able, make_prompts(RepetitionSpec(prompts=32), tokenizer, 0))
    for step, model in ((0, make_model()), (1, able)):
        save_checkpoint(Path("pockets", "mine", "1m", "0", f"step{step}"), model, tokenizer)
    names: dict[str, Any] = {}
    exec(compile(SCAN, "README.md", "exec"), names)
    assert names["across"] == {"size": "1m", "seed": "0", "recipient": 0, "donor": 1}
    assert names["patch"].finished
    assert "repetition" in Path("report.html").read_text(encoding="utf-8")


def test_the_records_of_the_tour_are_read(finished: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """Of another run than the demo's, whose last step is 40 and whose sequences have 7 queries."""
    judge, *reading = list_blocks(ROOT / "docs" / "tour.md")
    shutil.copytree(finished.path, Path("runs", "demo"))
    names: dict[str, Any] = {}
    for block in reading:
        smaller = block.replace("step=1500", "step=40").replace("(4, 19)", "(4, 7)")
        exec(compile(smaller, "tour.md", "exec"), names)
    assert capsys.readouterr().out.startswith("[{'step': 0, 'loss': ")
    assert names["progress"].shape == (2, len(names["steps"]), 4)
    assert names["attention"].shape[1:4] == (2, 1, 2)
    assert {name.partition(".")[0] for name in names["weights"]} >= {"blocks"}
    assert names["logits"].shape == (4, 7, 2)
    assert len(names["found"]) == len(names["strict"]) == 2 * 5
    assert names["left"].shape == names["right"].shape == (2,)

    exec(compile(judge, "tour.md", "exec"), names)
    results = Results([solve(Cell(size=16, sparsity=s, run=make_spec()), [500]) for s in (2, 3)])
    assert names["judge"](results) == ["4.0 rows, 2 sparsities"]
    assert names["judge"](Results([])) == []
