"""A study is a Python file that declares cells, at one or more scales, and what is made of them."""

import reprlib
import runpy
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from saltus.errors import SaltusError
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison, Table
from saltus.studies.gate import Arm
from saltus.studies.race import Race
from saltus.studies.results import Results
from saltus.train.measures import Measure, join_measures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = ("full", "laptop")
"""Full size is a study's `cells`, laptop size its `laptop`: some of the same keys, smaller, with fewer seeds."""


@dataclass(frozen=True)
class Study:
    """What a study file exports as `study`."""

    cells: Sequence[Cell]
    """At the paper's size. Keys differ, and so do names."""
    laptop: Sequence[Cell] = ()
    """Cells with some of the same keys, smaller."""
    draw: "Callable[[Results], Figure] | None" = None
    """Results -> a matplotlib figure."""
    compare: Callable[[Results], Sequence[Comparison]] | None = None
    """Results -> rows of theirs and ours."""
    judge: Callable[[Results], Sequence[Claim]] | None = None
    """Results -> verdicts on claims."""
    tabulate: Callable[[Results], Sequence[Table]] | None = None
    """Results -> tables of its own."""
    follow: Callable[[Results, str], Sequence[Cell]] | None = None
    """Results, and the scale that they are of -> cells that follow from them, such as at the best rate of a sweep."""
    arms: Callable[[Results], Sequence[Arm]] | None = None
    """Results -> the arms of a comparison, which then has to pass the gate."""
    race: Race | None = None
    """The cells are trained only until the best of them is known; they say the most that each of them gets."""
    about: str = ""
    """The claim that it asks about, in a sentence; studies with the same one share a line of the results."""
    measures: Sequence[Measure] = ()
    """What is recorded of every evaluation besides `saltus.train.measures.MEASURES`."""
    name: str = field(default="", kw_only=True)
    """The name of the file, without its ending."""
    title: str = field(default="", kw_only=True)
    """The first line of the file's docstring."""
    path: Path = field(default=Path(), kw_only=True)
    """The file."""

    def __post_init__(self) -> None:
        join_measures(self.measures)
        for where, cells in (("cells", self.cells), ("laptop", self.laptop)):
            _check_cells(where, cells, needed=where == "cells")
            if self.race is not None and cells:
                self.race.list_heats(cells)
        for made in ("draw", "compare", "judge", "tabulate", "follow", "arms"):
            if not ((given := getattr(self, made)) is None or callable(given)):
                raise SaltusError(f"`{made}` is {reprlib.repr(given)}; it is a function of the results")
        known = [cell.key for cell in self.cells]
        if alone := [cell.name for cell in self.laptop if cell.key not in known]:
            raise SaltusError(
                f"`laptop` has {alone[0]!r}, whose keys no cell of `cells` has; what is drawn and judged are those, "
                f"such as {self.cells[0].name!r}"
            )

    @property
    def scales(self) -> list[str]:
        """The scales that the study has."""
        return list(SCALES) if self.laptop else ["full"]

    def at(self, scale: str = "full") -> Sequence[Cell]:
        """The cells of one scale."""
        if scale not in self.scales:
            raise SaltusError(f"scale: {scale!r} was given; the study {self.name} has {', '.join(self.scales)}")
        return self.cells if scale == "full" else self.laptop

    def following(self, results: Results, scale: str = "full") -> Sequence[Cell]:
        """The cells that follow from the results of one scale."""
        found = list(self.follow(results, scale)) if self.follow else []
        _check_cells("follow", [*self.at(scale), *found], needed=False)
        return found


def load_study(path: str | PathLike[str]) -> Study:
    """Execute a study file, which exports `study`; it may import its neighbours."""
    path = Path(path)
    if not path.is_file():
        raise SaltusError(f"{path}: there is no such study file; give the path of a Python file that exports `study`")
    try:
        with _among_neighbours(path):
            exported = runpy.run_path(str(path), run_name="saltus_study")
    except SaltusError as error:
        raise SaltusError(f"{path}{_line(error, path)}: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a study may raise anything
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise SaltusError(f"{path}{_line(error, path)}: the study raised {text}") from None
    study = exported.get("study")
    if not isinstance(study, Study):
        given = " ".join(reprlib.repr(study).split())
        raise SaltusError(f"{path}: `study` is {given}; a study file exports `study`, a saltus.Study")
    title = str(exported.get("__doc__") or path.stem).strip().splitlines()[0]
    return replace(study, name=path.stem, title=title, path=path)


def _check_cells(where: str, cells: Sequence[Cell], *, needed: bool) -> None:
    listed = isinstance(cells, Sequence) and all(isinstance(cell, Cell) for cell in cells)  # pyright: ignore[reportUnnecessaryIsInstance]  # anybody's file
    if not listed or (needed and not cells):
        given = " ".join(reprlib.repr(cells).split())
        raise SaltusError(f"`{where}` is {given}; it is a {'non-empty ' if needed else ''}list of Cell")
    for told, values in (("name {} is", [cell.name for cell in cells]), ("keys {} are", [dict(c.key) for c in cells])):
        if repeated := [value for place, value in enumerate(values) if value in values[:place]]:
            raise SaltusError(f"`{where}`: the {told.format(repr(repeated[0]))} given to more than one cell")


@contextmanager
def _among_neighbours(path: Path) -> Generator[None, None, None]:
    """While a study runs, its folder is where Python looks for modules first; neighbours are forgotten afterwards."""
    folder, before = path.resolve().parent, set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            source = getattr(sys.modules[name], "__file__", None)
            if source and Path(source).parent == folder:
                del sys.modules[name]


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
