"""The command line: whatever is wrong is one line and exit code 2, and nothing is created."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.studies.study import load_study
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]

GOOD = """
from saltus.specs import LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec

def make(name="tiny", task=None, model=None, training=None, **values):
    return RunSpec(
        name=name,
        task=LinearMapSpec(**({"size": 6, "sparsity": 2} | (task or {}))),
        model=TransformerSpec(**({"d_model": 16, "heads": 2} | (model or {}))),
        training=TrainingSpec(**({"steps": 2, "batch_sequences": 4, "compile": False} | (training or {}))),
        **values,
    )

runs = [make()]
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
            "RunSpec(name='../x', **{key: getattr(runs[0], key) for key in ('task', 'model', 'training')})",
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
        pytest.param("runs = = []", ["SyntaxError: invalid syntax"], id="syntax error"),
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
        pytest.param("del runs", ["`runs` is None"], id="no runs"),
        pytest.param("runs = []", ["`runs` is []"], id="empty"),
        pytest.param("runs = make()", ["`runs` is RunSpec"], id="no list"),
        pytest.param("runs = [make(), {'name': 'tiny'}]", ["a non-empty list of RunSpec"], id="a dictionary"),
        pytest.param("runs = 'tiny'", ["`runs` is 'tiny'"], id="text"),
        pytest.param("runs = [make(), make(seeds=3)]", ["'tiny' is given to more than one run"], id="equal names"),
    ],
)
def test_study_without_good_runs(
    saltus: Saltus, study: Callable[[str], Path], tmp_path: Path, lines: str, parts: list[str]
) -> None:
    path, out = study(lines), tmp_path / "out"
    sentence = refuse(saltus, "run", path, "--out", out)
    assert sentence.startswith(f"{path}: ")
    assert [part for part in parts if part not in sentence] == [], sentence
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--steps", "-1"], ["TrainingSpec.steps: -1 was given", "greater than or equal to 1"]),
        (["--seeds", "0"], ["RunSpec.seeds: 0 was given", "greater than or equal to 1"]),
        (["--only", "nothing"], ["only: 'nothing'", "tiny"]),
        (["--device", "tpu"], ["device: 'tpu' was given", "'auto', 'cpu' and 'cuda'"]),
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
    path = study("runs = [make('good'), make('bad').model_copy(update={'master_seed': 'x'})]")
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


@pytest.mark.usefixtures("in_this_process")
def test_run_show_and_run_again(saltus: Saltus, tiny: RunSpec, tmp_path: Path) -> None:
    """What is not a terminal gets plain lines: no colours, no bars, and paths as they are."""
    path, place = tmp_path / "study.py", tmp_path / "[bold]out[/bold] [/] :bomb:"
    path.write_text(f"from saltus.specs import RunSpec\nruns = [RunSpec(**{tiny.model_dump()!r})]\n")
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
