"""The command line: whatever is wrong is one line and exit code 2, and nothing is created."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltus import api
from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.studies.study import load_study
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]

GOOD = """
from saltus import Cell, LinearMapSpec, RunSpec, Study, TrainingSpec, TransformerSpec

def make(name="tiny", task=None, model=None, training=None, **values):
    return RunSpec(
        name=name,
        task=LinearMapSpec(**({"size": 6, "sparsity": 2} | (task or {}))),
        model=TransformerSpec(**({"d_model": 16, "heads": 2} | (model or {}))),
        training=TrainingSpec(**({"steps": 2, "batch_sequences": 4, "compile": False} | (training or {}))),
        **values,
    )

study = Study(cells=[Cell(run=make())])
"""
LAST = GOOD.count("\n") + 1
"""The line of what is appended to it."""


def refuse(saltus: Saltus, *arguments: str | Path) -> str:
    """Call the command line with something wrong: the one line that it writes, after `error: `."""
    code, out, error = saltus(*arguments)
    assert code == 2, error
    assert out == ""
    assert error.endswith("\n")
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    assert "\x1b" not in error
    assert error.startswith("error: ")
    return error.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def study(tmp_path: Path) -> Callable[[str], Path]:
    """The good study with lines appended."""

    def write(lines: str) -> Path:
        path = tmp_path / "study.py"
        path.write_text(GOOD + lines)
        return path

    return write


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        pytest.param("TrainingSpec(step=3)", ["TrainingSpec.step: there is no such key"], id="unknown key"),
        pytest.param("LinearMapSpec(size=6, sparsity=7)", ["sparsity is 7", "at most 6"], id="s > S"),
        pytest.param("TransformerSpec(d_model=16, heads=3)", ["heads is 3", "d_model 16"], id="heads"),
        pytest.param("TrainingSpec(steps=-3, batch_sequences=4)", ["TrainingSpec.steps: -3 was given"], id="steps"),
        pytest.param(
            "RunSpec(name='../x', **{key: getattr(make(), key) for key in ('task', 'model', 'training')})",
            ["'../x'", "allowed are"],
            id="name",
        ),
        pytest.param("1 / 0", ["the study raised ZeroDivisionError: division by zero"], id="raises"),
        pytest.param("raise ValueError('one\\ntwo')", ["ValueError: one two"], id="raises two lines"),
        pytest.param(
            "raise ValueError('[bold]x[/] [/] :bomb:')", ["ValueError: [bold]x[/] [/] :bomb:"], id="raises markup"
        ),
        pytest.param("import no_such_module", ["ModuleNotFoundError", "no_such_module"], id="imports nothing"),
        pytest.param("import sys; sys.exit(0)", ["the study raised SystemExit: 0"], id="exits"),
        pytest.param("raise SystemExit", ["the study raised SystemExit"], id="exits silently"),
        pytest.param("study = = []", ["SyntaxError: invalid syntax"], id="syntax error"),
    ],
)
def test_study_that_fails_is_named_with_its_line(
    saltus: Saltus, study: Callable[[str], Path], tmp_path: Path, lines: str, parts: list[str]
) -> None:
    path, out = study(lines), tmp_path / "out"
    sentence = refuse(saltus, "run", path, "--out", out)
    assert sentence.startswith(f"{path}:{LAST}: "), sentence
    assert [part for part in parts if part not in sentence] == [], sentence
    assert not out.exists()


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        pytest.param("del study", ["`study` is None", "exports `study`, a saltus.Study"], id="no study"),
        pytest.param("study = make()", ["`study` is RunSpec"], id="a run"),
        pytest.param("study = Study(cells=[])", ["`cells` is []"], id="empty"),
        pytest.param("study = Study(cells=[make()])", ["a non-empty list of Cell"], id="runs as cells"),
        pytest.param("study = Study(cells='tiny')", ["`cells` is 'tiny'"], id="text"),
        pytest.param(
            "study = Study(cells=[Cell(a=1, run=make()), Cell(a=2, run=make(seeds=3))])",
            ["`cells`: the name 'tiny' is given to more than one cell"],
            id="equal names",
        ),
        pytest.param(
            "study = Study(cells=[Cell(a=1, run=make()), Cell(a=1, run=make('b'))])",
            ["`cells`: the keys {'a': 1} are given to more than one cell"],
            id="equal keys",
        ),
        pytest.param(
            "study = Study(cells=[Cell(a=1, run=make())], laptop=[Cell(a=2, run=make())])",
            ["`laptop` has 'tiny', whose keys no cell of `cells` has"],
            id="laptop alone",
        ),
    ],
)
def test_study_without_good_runs(
    saltus: Saltus, study: Callable[[str], Path], tmp_path: Path, lines: str, parts: list[str]
) -> None:
    path, out = study(lines), tmp_path / "out"
    sentence = refuse(saltus, "run", path, "--out", out)
    assert sentence.startswith(f"{path}:")
    assert [part for part in parts if part not in sentence] == [], sentence
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--steps", "-1"], ["TrainingSpec.steps: -1 was given", "greater than or equal to 1"]),
        (["--seeds", "0"], ["RunSpec.seeds: 0 was given", "greater than or equal to 1"]),
        (["--only", "nothing"], ["only: 'nothing'", "tiny"]),
        (["--device", "tpu"], ["device: 'tpu' was given", "'auto', 'cpu', 'cuda' and 'mps'"]),
        (["--device", "cuda"], ["device: 'cuda' was given", "no CUDA device"]),
    ],
)
def test_bad_options(
    saltus: Saltus,
    study: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    parts: list[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    out = tmp_path / "out"
    sentence = refuse(saltus, "run", study(""), "--out", out, *options)
    assert [part for part in parts if part not in sentence] == [], sentence
    assert not out.exists()


def test_what_a_study_raises_is_one_sentence_without_the_command_line_too(study: Callable[[str], Path]) -> None:
    with pytest.raises(SaltusError) as caught:
        load_study(study("raise ValueError('one\\ntwo')"))
    assert "ValueError: one two" in str(caught.value)


def test_study_that_is_not_there(saltus: Saltus, tmp_path: Path) -> None:
    for path in (tmp_path / "none.py", tmp_path):
        assert refuse(saltus, "run", path, "--out", tmp_path / "out").startswith(f"{path}: there is no such study file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_this_process")
def test_all_runs_are_validated_before_the_first_one_trains(
    saltus: Saltus, study: Callable[[str], Path], tmp_path: Path
) -> None:
    bad = "make('bad').model_copy(update={'master_seed': 'x'})"
    path = study(f"study = Study(cells=[Cell(a=1, run=make('good')), Cell(a=2, run={bad})])")
    assert "RunSpec.master_seed: 'x' was given" in refuse(saltus, "run", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_that_cannot_be_written(saltus: Saltus, study: Callable[[str], Path], tmp_path: Path) -> None:
    place = tmp_path / "[red]file[/]"
    place.parent.mkdir(parents=True)
    place.write_text("here")
    assert "cannot be written" in refuse(saltus, "run", study(""), "--out", place, "--device", "cpu")
    assert place.read_text() == "here"
    assert f"in {place}" in refuse(saltus, "show", "tiny", "--out", place)


@pytest.mark.parametrize("arguments", [["--nonsense"], ["run"], ["nonsense"], ["run", "x.py", "--seeds", "many"]])
def test_wrong_usage_is_2(saltus: Saltus, arguments: list[str]) -> None:
    code, out, error = saltus(*arguments)
    assert (code, out) == (2, "")
    assert "Usage:" in error
    assert "Traceback" not in error


def test_runs_that_are_not_there_or_not_unique(saltus: Saltus, finished: RunFolder, tmp_path: Path) -> None:
    for name in ("tiny-1", "tiny-2"):
        shutil.copytree(finished.path, tmp_path / name)
    assert refuse(saltus, "show", "none", "--out", tmp_path).endswith("there are: tiny-1, tiny-2")
    assert "is no run" in refuse(saltus, "report", "none", "--out", tmp_path, "--to", tmp_path / "x.html")
    assert refuse(saltus, "show", "none", "--out", tmp_path / "none").endswith("there are: none")
    refuse(saltus, "show", "none", "--out", tmp_path / "two\nlines")  # still says it in one
    for command in ("show", "report"):
        sentence = refuse(saltus, command, "tiny-", "--out", tmp_path)
        assert "'tiny-' is the beginning of more than one name" in sentence
        assert sentence.endswith("there are: tiny-1, tiny-2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny-1", "tiny-2"]
    shutil.copytree(finished.path, tmp_path / "tiny-1-copy")
    code, out, error = saltus("show", "tiny-1", "--out", tmp_path)  # the whole name counts before the beginning
    assert (code, error) == (0, "")
    assert "2 seeds" in out


def test_report_to_a_place_that_cannot_be(saltus: Saltus, finished: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    to = tmp_path / "file" / "report.html"
    assert refuse(saltus, "report", finished.path, "--to", to).startswith(f"{to} cannot be written")
    assert (tmp_path / "file").read_text() == "here"


def test_ls(saltus: Saltus, finished: RunFolder, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        assert saltus("ls", "--out", place) == (0, f"no runs in {place}\n", "")
    assert list(tmp_path.iterdir()) == []
    shutil.copytree(finished.path, tmp_path / "a[red]b:bomb:")
    half = tmp_path / "half"
    shutil.copytree(finished.path, half)
    (half / "finished.json").unlink()
    code, out, error = saltus("ls", "--out", tmp_path)
    assert (code, error) == (0, "")
    assert "a[red]b:bomb:" in out
    lines = out.splitlines()
    assert any("a[red]" in line and "finished" in line for line in lines)
    assert any("half" in line and "at step 40" in line for line in lines)


def test_one_folder_that_cannot_be_read_is_one_marked_line(saltus: Saltus, finished: RunFolder, tmp_path: Path) -> None:
    for name in ("first", "second", "third", "fourth", "fifth", "sixth"):
        shutil.copytree(finished.path, tmp_path / name)
    (tmp_path / "second" / "spec.json").write_text("{")
    (tmp_path / "third" / "finished.json").write_text("[]")
    (tmp_path / "fourth" / "spec.json").write_text('{"self": 1}')
    (tmp_path / "fifth" / "finished.json").write_text(f'{{"a": {"[" * 100_000}')
    (tmp_path / "sixth" / "finished.json").write_text('{"last_step": "40 steps"}')
    code, out, error = saltus("ls", "--out", tmp_path)
    assert (code, error) == (0, "")
    assert "cannot be" in out
    found = {folder.path.name: folder for folder in api.ls(tmp_path)}
    listings = [api.describe(found.pop(name)) for name in ("first", "second", "third")]
    assert [listing.readable for listing in listings] == [True, False, False]
    assert {name: api.describe(folder).readable for name, folder in found.items()} == dict.fromkeys(found, False)
    assert "spec.json" in listings[1].state
    assert "holds no JSON object" in listings[2].state


@pytest.mark.usefixtures("in_this_process")
def test_a_sweep_goes_on_past_a_run_that_fails_and_status_says_so(
    saltus: Saltus, study: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study("study = Study(cells=[Cell(seeds=n, run=make(f'run-{n}', seeds=n)) for n in (1, 2, 3)])")
    out = tmp_path / "out"
    commit = RunFolder.commit

    def fail(self: RunFolder, step: int, *arguments: Any) -> None:
        if self.path.name.startswith("run-2") and step:
            raise ValueError("one\ntwo")
        commit(self, step, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", fail)
        code, text, error = saltus("run", path, "--out", out)
    assert code == 2
    assert error == "error: 1 of 3 runs failed, the others were trained: run-2: ValueError: one two\n"
    assert "run-2 failed: ValueError: one two" in text
    code, told, error = saltus("status", path, "--out", out, "--device", "cpu")
    assert (code, error) == (0, "")
    assert tell_states(told) == {"run-1": "finished", "run-2": "failed:", "run-3": "finished"}
    assert "2 of 3 runs are finished, 1 failed" in told
    code, _, error = saltus("run", path, "--out", out)
    assert (code, error) == (0, "")
    assert "all 3 runs are finished" in saltus("status", path, "--out", out, "--device", "cpu")[1]


def tell_states(status: str) -> dict[str, str]:
    """By run, the first word of its state."""
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in status.splitlines() if "run-" in line]
    return {row[0]: row[4].split()[0] for row in rows}


@pytest.mark.usefixtures("in_this_process")
def test_a_bad_cell_is_named_before_anything_is_trained(
    saltus: Saltus, study: Callable[[str], Path], tmp_path: Path
) -> None:
    biased = "make('biased', intervention=BiasSpec(strength=1.0, units=(7,)))"
    path = study(f"from saltus import BiasSpec\nstudy = Study(cells=[Cell(a=1, run=make()), Cell(a=2, run={biased})])")
    sentence = refuse(saltus, "run", path, "--out", tmp_path / "out")
    assert sentence == "biased: intervention.units names 7; the task has the units 0 to 5"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("in_this_process")
def test_a_run_that_another_process_trains_is_left_to_it(
    saltus: Saltus, study: Callable[[str], Path], tmp_path: Path
) -> None:
    path = study("study = Study(cells=[Cell(seeds=n, run=make(f'run-{n}', seeds=n)) for n in (1, 2)])")
    out = tmp_path / "out"
    spec = load_study(path).cells[0].run
    with RunFolder.of(out, spec).writing(spec):
        code, text, error = saltus("run", path, "--out", out)
        assert (code, error) == (0, "")
        assert f"{out / spec.run_id} is left to the process that trains it" in text
        told = saltus("status", path, "--out", out, "--device", "cpu")[1]
        assert tell_states(told) == {"run-1": "being", "run-2": "finished"}
    assert saltus("run", path, "--out", out)[0] == 0
    assert all(folder.finished for folder in RunFolder.list(out))


@pytest.mark.usefixtures("in_this_process")
def test_seeds_and_steps_stay_with_what_follows(saltus: Saltus, study: Callable[[str], Path], tmp_path: Path) -> None:
    path = study("study = Study(cells=[Cell(a=1, run=make())])")
    out, options = tmp_path / "out", ("--seeds", 2, "--steps", 3)
    assert saltus("run", path, "--out", out, *options)[0] == 0
    assert "the run is finished" in saltus("status", path, "--out", out, "--device", "cpu", *options)[1]
    assert "0 of 1 runs are finished" in saltus("status", path, "--out", out, "--device", "cpu")[1]
    assert "0 more runs" in saltus("keep", path, "--out", out, "--to", tmp_path / "kept")[1]
    assert "1 more runs" in saltus("keep", path, "--out", out, "--to", tmp_path / "kept", *options)[1]


def test_the_rule_is_changed_when_a_run_is_shown(saltus: Saltus, finished: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "here")
    rules = ((), ("--threshold", 0.0001, "--hold", 1))
    shown = [saltus("show", "here", "--out", tmp_path, *rule)[1] for rule in rules]
    assert ["How abruptly: of " in text for text in shown] == [False, True]
    assert shown[0] != shown[1]
    assert "must be a finite number" in refuse(saltus, "show", "here", "--out", tmp_path, "--threshold", "nan")


@pytest.mark.usefixtures("in_this_process")
def test_run_show_and_run_again(saltus: Saltus, tiny: RunSpec, tmp_path: Path) -> None:
    """What is not a terminal gets plain lines: no colours, no bars, and paths as they are."""
    path, place = tmp_path / "study.py", tmp_path / "[bold]out[/bold] [/] :bomb:"
    path.write_text(f"from saltus import *\nstudy = Study(cells=[Cell(run=RunSpec(**{tiny.model_dump()!r}))])\n")
    code, out, error = saltus("run", path, "--out", place, "--steps", 4, "--seeds", 1)
    assert (code, error) == (0, "")
    folder = RunFolder(place / tiny.with_overrides(steps=4, seeds=1).run_id)
    lines = out.splitlines()
    assert lines[0] == "tiny: preparing"
    assert "tiny: step 4/4, units learnt by seed (of 4): 0" in lines
    assert lines[-1] == f"records: {folder.path}"
    assert folder.finished
    assert folder.summary()["last_step"] == 4
    code, again, error = saltus("run", path, "--out", place, "--steps", 4, "--seeds", 1)
    assert (code, error) == (0, "")
    assert again.splitlines()[0] == f"{folder.path} is finished already; delete it to train it again"
    assert "step 4/4" not in again
    code, shown, error = saltus("show", "tiny", "--out", place)
    assert (code, error) == (0, "")
    assert shown.strip()
    assert shown in out
    for text in (out, again, shown):
        assert "\x1b" not in text
        assert "\r" not in text
        assert "━" not in text  # of progress bars


def test_python_m_saltus(tmp_path: Path) -> None:
    """The same door, in a process of its own."""
    command = [sys.executable, "-m", "saltus", "run", "none.py", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: none.py: there is no such study file")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_said(saltus: Saltus) -> None:
    code, out, error = saltus("--version")
    assert (code, error) == (0, "")
    assert re.fullmatch(r"saltus \d+\.\d+\.\d+\n", out)
