"""Imports point one way. Read from the sources, so that an import inside a function counts as well."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import saltus
from saltus.known_patterns import KNOWN_PATTERNS
from saltus.specs.capabilities import CAPABILITIES
from saltus.specs.checkpoints import PatternName
from saltus.specs.curricula import PHASES
from saltus.specs.interventions import INTERVENTIONS
from saltus.specs.kinds import find_class
from saltus.specs.models import MODELS
from saltus.specs.pocket_interventions import POCKET_INTERVENTIONS
from saltus.specs.tasks import TASKS

SOURCE = Path(saltus.__file__).parent

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "arguments": set(),
    "extras": {"errors"},
    "shown": {"extras"},
    "seeding": set(),
    "processes": set(),
    "provenance": set(),
    "known_patterns": {"errors"},
    "labels": set(),
    "curves": {"errors", "shown"},
    "specs": {"errors"},
    "storage": {"errors", "shown", "specs"},
    "measure": {"errors", "shown", "curves"},
    "ingest": {"errors", "labels", "curves", "specs", "storage"},
    "tasks": {"errors", "seeding", "specs"},
    "models": {"errors", "seeding", "specs", "tasks"},
    "train": {"errors", "seeding", "curves", "specs", "storage", "tasks", "models"},
    "engines": {"errors", "extras", "processes", "specs", "storage", "train"},
    "lm": {
        "errors",
        "extras",
        "seeding",
        "processes",
        "labels",
        "known_patterns",
        "curves",
        "specs",
        "storage",
        "train",
    },
    "monitor": {"errors", "extras", "provenance", "known_patterns", "curves", "specs", "storage", "train", "lm"},
    "studies": {"errors", "seeding", "curves", "measure", "specs", "storage", "tasks", "models", "train"},
    "paper": {"errors", "measure", "specs", "tasks", "studies"},
    "report": {"errors", "seeding", "curves", "measure", "specs", "storage", "tasks", "train", "lm", "monitor"},
    "live": {"errors", "report"},
    "demo": {"specs"},
}
"""What each part of saltus may import besides itself. `api` puts them together, and `cli` is its command line."""

ABOVE = {"api", "cli", "__init__", "__main__"}

ROOMS_OF_CURVES = ("curves", "measure", "report.html", "report.curves")
"""Whatever is here takes curves and knows nothing of where they came from."""


def read_sources() -> dict[str, str]:
    """Source by module name, such as `train.loop`; of a package that of its `__init__`."""
    paths = {path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py")}
    named = {".".join(path.parts): (SOURCE / path).with_suffix(".py").read_text() for path in paths}
    return {name.removesuffix(".__init__"): source for name, source in named.items()}


@cache
def list_imports(source: str) -> tuple[str, ...]:
    """Every module that the source imports, with what is taken from it, such as `saltus.train.loop.train`."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += ["." * node.level + f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def list_own_imports(source: str) -> set[str]:
    """Those of saltus, without `saltus.`"""
    return {name.removeprefix("saltus.") for name in list_imports(source) if name.split(".")[0] == "saltus"}


def find_wrong_imports(sources: dict[str, str]) -> list[str]:
    """Every import against the rules, as a line."""
    wrong: list[str] = []
    for module, source in sources.items():
        part = module.split(".")[0]
        allowed = {part, *ALLOWED[part]} if part in ALLOWED else {*ALLOWED, "api", part, "cli", "saltus"}
        if part == "api":
            allowed -= {"cli", "saltus"}
        for name in list_own_imports(source):
            if name.split(".")[0] not in allowed:
                wrong.append(f"{module} imports {name}")
            elif module.startswith(ROOMS_OF_CURVES) and name.split(".")[0] in {
                "train",
                "lm",
                "tasks",
                "studies",
                "ingest",
            }:
                wrong.append(f"{module} imports {name}, and so knows a source of curves")
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


def test_every_part_has_a_rule() -> None:
    assert {module.split(".")[0] for module in read_sources()} - {"saltus"} <= {*ALLOWED, *ABOVE}


def test_imports_point_one_way() -> None:
    sources = read_sources()
    assert {"cli", "specs", "train.loop", "report.html.page", "measure.survival"} <= sources.keys()
    assert find_wrong_imports(sources) == []


def test_no_part_is_among_its_own_foundations() -> None:
    def found(part: str) -> set[str]:
        return ALLOWED[part].union(*(found(below) for below in ALLOWED[part]))

    assert [part for part in ALLOWED if part in found(part)] == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("tasks.base", "from saltus.train.loop import train", ["tasks.base imports train.loop.train"]),
        ("train.loop", "def f():\n    import saltus.report.run.section", ["train.loop imports report.run.section"]),
        ("train.loop", "from saltus import cli", ["train.loop imports cli"]),
        ("storage.folder", "from saltus.tasks.base import Task", ["storage.folder imports tasks.base.Task"]),
        ("api", "from saltus.cli import main", ["api imports cli.main"]),
        ("report.run.section", "from saltus.tasks.base import TaskFacts", []),
        (
            "report.curves.raster",
            "from saltus.train.records import RunRecords",
            ["report.curves.raster imports train.records.RunRecords, and so knows a source of curves"],
        ),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, wrong: list[str]) -> None:
    assert find_wrong_imports({module: source}) == wrong


LIGHT = ("curves", "labels", "known_patterns", "specs", "storage", "measure", "ingest", "report", "cli")
"""What must work without torch: reading, statistics, reports."""


def test_reading_statistics_and_reports_never_come_to_torch() -> None:
    sources = read_sources()
    starts = [name for name in sources if name.split(".")[0] in LIGHT and name.split(".")[0] != "cli"]
    assert len(starts) > 12
    assert [chain for start in starts if (chain := find_torch(sources, start))] == []
    assert find_torch(sources, "api") is not None  # the search does find it where it is


def test_reading_statistics_and_reports_leave_torch_unloaded() -> None:
    modules = sorted(f"saltus.{name}" for name in read_sources() if name.split(".")[0] in LIGHT)
    code = f"import sys\nimport {', '.join(modules)}\nsys.exit('torch was loaded' if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_kind_in_a_registry_is_what_it_says_and_builds_something() -> None:
    for kinds in (TASKS, MODELS, CAPABILITIES, INTERVENTIONS, PHASES):
        assert list(kinds) == [spec.model_fields["kind"].default for spec in kinds.values()]
        assert all(callable(find_class(spec.builds)) for spec in kinds.values())
    kinds = [(spec.model_fields["kind"].default, callable(find_class(p))) for spec, p in POCKET_INTERVENTIONS.values()]
    assert kinds == [(kind, True) for kind in POCKET_INTERVENTIONS]
    assert get_args(PatternName) == tuple(KNOWN_PATTERNS)
    streams = [spec.stream for spec in CAPABILITIES.values()]
    assert len(set(streams)) == len(streams)
    assert {spec.__name__ for kinds in (TASKS, MODELS, INTERVENTIONS, PHASES) for spec in kinds.values()} <= {
        *saltus.__all__
    }


def test_no_source_file_is_long() -> None:
    lengths = {module: source.count("\n") for module, source in read_sources().items()}
    assert {module: length for module, length in lengths.items() if length > 400} == {}


def test_no_relative_imports_and_no_print() -> None:
    for module, source in read_sources().items():
        assert [name for name in list_imports(source) if name.startswith(".")] == [], module
        calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        assert [call for call in calls if isinstance(call, ast.Name) and call.id == "print"] == [], module
