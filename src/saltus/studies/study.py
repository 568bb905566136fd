"""A study is a Python file that declares runs, at one or more scales, and what is made of them."""

import reprlib
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.train.records import RunRecords

SCALES = ("full", "laptop")
"""A study's `runs`, and its `laptop`: the same cells by name, but fewer of them, smaller, and with fewer seeds."""


@dataclass(frozen=True)
class Study:
    """What a study file exports."""

    name: str
    """The file's, without its ending."""
    title: str
    """The first line of the file's docstring."""
    scales: dict[str, list[RunSpec]]
    """By scale, its runs. Within one scale names differ; runs of equal name are the same cell."""
    draw: Callable[..., Any] | None
    """Results -> a matplotlib figure."""
    compare: Callable[..., Any] | None
    """Results -> rows of theirs and ours."""
    judge: Callable[..., Any] | None
    """Results -> verdicts on the paper's claims."""
    then: Callable[..., Any] | None
    """Records by name, and the scale that they are of -> runs that follow from them, such as at the best of a sweep."""
    arms: Callable[..., Any] | None
    """Results -> the arms of a comparison, which then has to pass the gate."""

    def runs(self, scale: str = "full") -> list[RunSpec]:
        """The runs of one scale."""
        if scale not in self.scales:
            raise SaltusError(f"scale: {scale!r} was given; the study {self.name} has {', '.join(self.scales)}")
        return self.scales[scale]

    def following(self, results: Mapping[str, RunRecords], scale: str = "full") -> list[RunSpec]:
        """The runs that follow from those of one scale, as far as `results` has them."""
        return list(self.then(results, scale)) if self.then else []


def load_study(path: Path) -> Study:
    """Execute the study file: `runs` is required, the others of `Study` are not."""
    if not path.is_file():
        raise SaltusError(f"{path}: there is no such study file; give the path of a Python file that exports `runs`")
    try:
        exported = runpy.run_path(str(path), run_name="saltus.study")
    except SaltusError as error:
        raise SaltusError(f"{path}{_line(error, path)}: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a study may raise anything
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise SaltusError(f"{path}{_line(error, path)}: the study raised {text}") from None
    scales = {"full": _check_runs(path, "runs", exported.get("runs"))}
    if "laptop" in exported:
        scales["laptop"] = _check_runs(path, "laptop", exported["laptop"])
        _check_cells(path, scales)
    made = {name: exported.get(name) for name in ("draw", "compare", "judge", "then", "arms")}
    if wrong := [name for name, function in made.items() if function is not None and not callable(function)]:
        raise SaltusError(f"{path}: `{wrong[0]}` is {reprlib.repr(made[wrong[0]])}; it is a function of the results")
    title = str(exported.get("__doc__") or path.stem).strip().splitlines()[0]
    return Study(path.stem, title, scales, **made)


def _check_runs(path: Path, name: str, runs: Any) -> list[RunSpec]:
    if not isinstance(runs, Sequence) or not runs or not all(isinstance(run, RunSpec) for run in runs):
        given = " ".join(reprlib.repr(runs).split())
        raise SaltusError(f"{path}: `{name}` is {given}; a study exports `{name}`, a non-empty list of RunSpec")
    names = [run.name for run in runs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise SaltusError(f"{path}: the name {min(repeated)!r} is given to more than one run; names must differ")
    return list(runs)


def _check_cells(path: Path, scales: Mapping[str, Sequence[RunSpec]]) -> None:
    """Drawn and judged are the cells of `runs`: one that stands in `laptop` alone would be trained for nothing."""
    full, laptop = ([run.name for run in scales[scale]] for scale in SCALES)
    if alone := [name for name in laptop if name not in full]:
        raise SaltusError(
            f"{path}: `laptop` has {alone[0]!r}; its names are to be those of `runs`, such as {full[0]!r}"
        )


def _line(error: BaseException, path: Path) -> str:
    """`:LINE` of the study file where the error came from, if it is known."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f":{error.lineno}"
    trace, line = error.__traceback__, ""
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line
