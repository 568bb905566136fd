"""Imports point one way. Read from the sources, so that an import inside a function counts as well."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import saltus

SOURCE = Path(saltus.__file__).parent

STAGES = ("tasks", "models", "train", "lm", "measure", "report")
"""Each may import itself and those before it."""

FREE = ("errors", "storage", "processes", "specs", "seeding")
"""May be imported by all. They import nothing but each other and the protocol of tasks."""

# What else there is, and what of saltus it may import besides FREE and itself.
REST = {
    "__init__": {"api"},
    "__main__": {"cli"},
    "cli": {"api", "demo", *STAGES, "engines", "integrations"},
    "api": {*STAGES, "engines", "integrations"},
    "demo": set[str](),
    "paper": {"measure"},
    "contest": {"measure", "models", "report", "train"},
    "engines": {"tasks", "models", "train"},
    "integrations": {*STAGES},
}


def read_sources() -> dict[str, str]:
    """Source by module name, such as `train.loop`; of a package that of its `__init__`."""
    paths = {path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py")}
    named = {".".join(path.parts): (SOURCE / path).with_suffix(".py").read_text() for path in paths}
    return {name.removesuffix(".__init__"): source for name, source in named.items()}


def list_imports(source: str) -> Iterator[str]:
    """Every module that the source imports, with what is taken from it, such as `saltus.train.loop.train`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module}.{alias.name}" for alias in node.names)


def list_own_imports(source: str) -> set[str]:
    """Those of saltus, without `saltus.`"""
    return {name.removeprefix("saltus.") for name in list_imports(source) if name.split(".")[0] == "saltus"}


def find_wrong_imports(sources: dict[str, str]) -> list[str]:
    """Every import against the rules, as a line."""
    wrong: list[str] = []
    for module, source in sources.items():
        part = module.split(".")[0]
        if part in STAGES:
            allowed = {*FREE, *STAGES[: STAGES.index(part) + 1]}
        elif part in FREE:
            allowed = {*FREE}
        else:
            allowed = {*FREE, part, *REST[part]}
        for name in list_own_imports(source):
            known = name.split(".")[0] in allowed or (part in FREE and name.startswith("tasks.base."))
            if not known:
                wrong.append(f"{module} imports {name}")
    return sorted(wrong)


def find_torch(sources: dict[str, str], start: str) -> str | None:
    """The chain of imports by which the module `start` comes to torch; None if there is none."""
    chains, seen = [[start]], {start}
    while chains:
        chain = chains.pop()
        source = sources[chain[-1]]
        if any(name.split(".")[0] in ("torch", "transformers") for name in list_imports(source)):
            return " -> ".join(chain)
        for name in list_own_imports(source):
            target = name if name in sources else name.rpartition(".")[0]
            if target not in seen and target in sources:
                seen.add(target)
                chains.append([*chain, target])
    return None


def test_imports_point_one_way() -> None:
    sources = read_sources()
    assert {"cli", "specs", "train.loop", "report.page", "measure.survival"} <= sources.keys()
    assert find_wrong_imports(sources) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("tasks.base", "from saltus.train.loop import train", ["tasks.base imports train.loop.train"]),
        ("train.loop", "def f():\n    import saltus.report.run.page", ["train.loop imports report.page"]),
        ("train.loop", "from saltus import cli", ["train.loop imports cli"]),
        ("records", "from saltus.tasks.build import build_task", ["records imports tasks.build.build_task"]),
        ("api", "from saltus.cli import main", ["api imports cli.main"]),
        ("report.page", "from saltus.tasks.base import TaskFacts", []),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, wrong: list[str]) -> None:
    assert find_wrong_imports({module: source}) == wrong


def test_measure_and_report_never_come_to_torch() -> None:
    sources = read_sources()
    starts = [name for name in sources if name.split(".")[0] in ("measure", "report", *FREE)]
    assert len(starts) > 12
    assert [chain for start in starts if (chain := find_torch(sources, start))] == []
    assert find_torch(sources, "api") is not None  # the search does find it where it is


def test_measure_and_report_leave_torch_unloaded() -> None:
    modules = sorted(f"saltus.{name}" for name in read_sources() if name.split(".")[0] in ("measure", "report", "cli"))
    code = f"import sys\nimport {', '.join(modules)}\nsys.exit('torch was loaded' if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_relative_imports_and_no_print() -> None:
    for module, source in read_sources().items():
        assert [name for name in list_imports(source) if name.startswith(".")] == [], module
        calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        assert [call for call in calls if isinstance(call, ast.Name) and call.id == "print"] == [], module
