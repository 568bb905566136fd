"""The light installation: without torch and transformers all that reads works, and the rest says what it needs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.ingest.files import accuracy, write_old

import saltus
from saltus.errors import SaltusError
from saltus.extras import EXTRAS, require_extra
from saltus.train.folder import RunFolder

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

BLOCK = """
import sys
from importlib.abc import MetaPathFinder

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Block())
"""

READ = """
from pathlib import Path
import saltus
from saltus import Rule, api
from saltus.api.watching import FolderShelf
from saltus.live.server import Server

run = sys.argv[1]
curves = saltus.read("evals", name="evals", rule=Rule(above=0.4))
found = curves.emergences()
print(saltus.compare(found.group("small"), found.group("large")).pairs[0].sentence)
print(saltus.plan(found.group("small"), see=True))
folders = [api.find("evals"), api.find(run)]
for folder in folders:
    api.show(folder)
api.report(folders)
api.ls(Path(run).parent)
shelf = FolderShelf([Path(run), Path("runs")])
Server(shelf)
assert [len(shelf.describe(glimpse.key)) > 0 for glimpse in shelf.look()] == [True, True]
assert not {"torch", "transformers"} & sys.modules.keys()
"""

ASK = """
import typer
from saltus.cli.main import app
from saltus.errors import SaltusError
from saltus import monitor

commands = [
    "demo", "demo --lm", "pocket", "audit pythia", "scan pythia --capability repetition",
    "scan pythia --prompts prompts.jsonl",
    "patch pythia --size 70m --recipient 1 --donor 2 --capability repetition",
    "run study.py --out empty", "status study.py --out empty",
]
for command in commands:
    try:
        app(command.split(), standalone_mode=False)
    except SaltusError as error:
        print(command, "->", error)
try:
    monitor.Monitor
except SaltusError as error:
    print("Monitor ->", error)
"""

STUDY = """
from saltus import Cell, LinearMapSpec, RunSpec, Study, TrainingSpec, TransformerSpec

run = RunSpec(
    task=LinearMapSpec(size=4, sparsity=2),
    model=TransformerSpec(d_model=8, heads=2),
    training=TrainingSpec(steps=1, batch_sequences=8),
    seeds=1,
)
study = Study(cells=[Cell(size=4, run=run)])
"""


@pytest.fixture(scope="module")
def told(finished: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines that reading prints, and then what everything else asks for, where nothing of the extras is."""
    folder = tmp_path_factory.mktemp("light")
    for group, middle in (("small", 300), ("large", 150)):
        for seed in range(4):
            for step in range(0, 600, 50):
                name, value = f"{group}-seed{seed}", 0.9 if step > middle + 60 * seed else 0.1
                write_old(folder / "evals" / f"{name}_step{step}.json", name, step, {"piqa": accuracy(value)})
    (folder / "study.py").write_text(STUDY)
    (folder / "prompts.jsonl").write_text('{"prompt": "The sky is", "target": " blue"}\n')
    code = BLOCK.format(blocked=sorted({package for extra in EXTRAS.values() for package in extra})) + READ + ASK
    done = subprocess.run(
        [sys.executable, "-c", code, str(finished.path)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").stat().st_size > 10_000
    return done.stdout.splitlines()


def test_reading_needs_none_of_the_extras(told: list[str]) -> None:
    out = "\n".join(told)
    assert "8 of 8 curves emerged" in out
    assert "None of 2 seeds learned all 4 rows within 40 steps" in out


def test_a_command_that_needs_an_extra_says_so_in_one_sentence(told: list[str]) -> None:
    said = [line for line in told if "->" in line]
    train, lm = "pip install 'saltus[train]'", "pip install 'saltus[lm]'"
    assert [line.split(": ")[-1] for line in said] == [train, lm, lm, lm, lm, lm, lm, train, train, lm]
    assert said[0] == f"demo -> training needs torch, which is not installed: {train}"
    four = "torch, transformers, tokenizers, huggingface_hub"
    assert said[-1] == f"Monitor -> a monitor needs {four}, which are not installed: {lm}"


def test_the_extras_are_those_of_the_project_and_all_are_here() -> None:
    declared = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    for extra, packages in EXTRAS.items():
        assert sorted(line.split(">=")[0] for line in declared[extra]) == sorted(packages)
    require_extra("train", "training")
    require_extra("lm", "a scan")


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "pandas", ("pandas_of_nobody",))
    with pytest.raises(SaltusError, match=r"^a frame needs pandas_of_nobody, which is not installed: "):
        require_extra("pandas", "a frame")


@pytest.mark.parametrize(
    "code", ["import saltus", "import saltus.cli.main", "from saltus import Curves, Rule, RunSpec"]
)
def test_what_takes_long_to_load_is_loaded_when_it_is_used(code: str) -> None:
    heavy = {"torch", "transformers", "scipy", "pyarrow", "plotly", "matplotlib", "starlette", "uvicorn", "pandas"}
    code = f"{code}\nimport sys\nprint(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_every_public_name_is_there() -> None:
    names: dict[str, object] = {}
    exec("from saltus import *", names)
    assert set(saltus.__all__) <= names.keys()
    with pytest.raises(AttributeError, match="module 'saltus' has no attribute 'nothing'"):
        _ = saltus.nothing
